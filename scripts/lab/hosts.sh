# The hosts as the kernel has them: made, found and removed by prefix (sourced by lab.sh).

namespaces() {
    ip netns list | cut -d' ' -f1 | grep "^$prefix" || true
}

links() {
    ip -o link show | sed -n "s/^[0-9]*: \($prefix[a-z0-9]*\)[@:].*/\1/p"
}

groups() {
    find "$cgroups" -mindepth 1 -maxdepth 1 -type d -name "$prefix*"
}

# Processes in the hosts, and mpiruns that `run` and `mpirun` started.
processes() {
    local space group
    for space in $(namespaces); do ip netns pids "$space" 2>/dev/null || true; done
    for group in $(groups); do cat "$group/cgroup.procs" 2>/dev/null || true; done
}

# Hosts that are up, in the order of their addresses; their cores are the aliases of their links.
find_hosts() {
    local name
    names=() cpus=() rates=() cores=()
    while read -r _ name; do
        names+=("$name") cpus+=("$(get_cpu "$name")") rates+=("$(get_rate "$name")")
        cores+=("$(sed 's/.*cores //' "/sys/class/net/$prefix$name/ifalias")")
    done < <(for link in $(links); do
        sed -n "s/^host \([0-9]*\) .*/\1 ${link#"$prefix"}/p" "/sys/class/net/$link/ifalias"
    done | sort -n)
}

need_lab() {
    find_hosts
    [ ${#names[@]} -gt 0 ] || die "no lab is up: '$0 up LABFILE'"
}

check() {
    local tool
    [ "$(id -u)" = 0 ] || die "the edge lab needs root"
    for tool in ip tc taskset unshare flock awk mpirun; do
        command -v $tool >/dev/null ||
            die "'$tool' is missing (Debian: iproute2, util-linux, openmpi-bin)"
    done
}

# Tries everything that a host is made of, beside a lab that may be up.
check_all() {
    check
    own_the_lab
    trap remove_trial EXIT
    remove_trial
    ip netns add ${prefix}check 2>/dev/null || die "no network namespace can be made here"
    ip link add ${prefix}check type veth peer name eth0 netns ${prefix}check 2>/dev/null ||
        die "no veth pair can be made here"
    ip link add ${prefix}check1 type bridge 2>/dev/null || die "no bridge can be made here"
    (set_rate check 1mbit) 2>/dev/null || die "tc has no token bucket here"
    unshare --uts true 2>/dev/null || die "no host name of its own can be had here"
    make_cgroup check
    (set_cpu check 0.5) 2>/dev/null || die "no CPU quota can be set here"
}

remove_trial() {
    ip netns del ${prefix}check 2>/dev/null || true
    ip link del ${prefix}check 2>/dev/null || true
    ip link del ${prefix}check1 2>/dev/null || true
    rmdir $cgroups/${prefix}check 2>/dev/null || true
}

# Held until this process ends, however it ends: two labs would be one. It is no state: who comes
# next removes what it finds.
own_the_lab() {
    exec 9</sys/class/net
    flock -w 1 9 || {
        echo "lab.sh: waiting for the lab that is in use" >&2
        flock -w 60 9 || die "a lab is in use: end the lab.sh that runs it, and the lab goes too"
    }
}

down() {
    local pid space link group killed=
    [ "$(id -u)" = 0 ] || die "the edge lab needs root"
    # Not this process, whoever called it.
    echo $BASHPID >$cgroups/cgroup.procs 2>/dev/null || true
    for _ in $(seq 50); do
        for pid in $(processes); do kill -KILL "$pid" 2>/dev/null && killed=1; done
        [ -n "$(processes)" ] || break
        sleep 0.05
    done
    # An mpirun outside ends when it hears that its daemons have: they still need their link.
    [ -z "$killed" ] || sleep 0.5
    for space in $(namespaces); do ip netns del "$space" 2>/dev/null || true; done
    # With its namespace an end of a pair goes away a moment later, and the other end with it.
    for link in $(links); do ip link del "$link" 2>/dev/null || true; done
    for group in $(groups); do rmdir "$group" 2>/dev/null || true; done
    [ -z "$(namespaces)$(links)$(groups)$(processes)" ] ||
        die "left behind:" $(namespaces) $(links) $(groups) $(processes)
}

up() {
    local host inside number name
    check
    read_lab "$1"
    place "$1"
    down
    trap down EXIT
    trap 'exit 130' INT TERM HUP
    make_cgroup lab
    stay_awake
    ip link add $bridge type bridge
    ip addr add $net.254/24 dev $bridge
    ip link set $bridge up
    for host in "${!names[@]}"; do
        name=${names[host]} number=$((host + 1))
        inside=(ip -n "$prefix$name")
        ip netns add "$prefix$name"
        ip link add "$prefix$name" type veth peer name eth0 netns "$prefix$name"
        ip link set "$prefix$name" alias "host $number cores ${cores[host]}"
        ip link set "$prefix$name" master $bridge up
        "${inside[@]}" addr add "$net.$number/24" dev eth0
        "${inside[@]}" link set lo up
        "${inside[@]}" link set eth0 up
        set_congestion_control "$name"
        make_cgroup "$name"
        set_rate "$name" "${rates[host]}"
        set_cpu "$name" "${cpus[host]}"
        align_periods "$name" "${cpus[host]}"
    done
}

change() {
    local name=$1 host found= key
    need_lab
    shift
    for host in "${!names[@]}"; do [ "${names[host]}" != "$name" ] || found=$host; done
    [ -n "$found" ] || die "set: no host '$name'; there are ${names[*]}"
    [ $# -gt 0 ] || die "set: nothing to change: cpu=CORES, rate=RATE"
    for key in "$@"; do
        case $key in
            cpu=*)
                cpus[found]=${key#*=}
                per_mille "${cpus[found]}" >/dev/null ||
                    die "set: $key: wanted cores, e.g. cpu=0.2, or cpu=max"
                ;;
            rate=*)
                bits "${key#*=}" >/dev/null ||
                    die "set: $key: wanted e.g. rate=100mbit, or rate=max"
                ;;
            *) die "set: $key: wanted cpu=CORES or rate=RATE" ;;
        esac
    done
    fits_its_cores "$found"
    for key in "$@"; do
        case $key in
            cpu=*) set_cpu "$name" "${key#*=}" ;;
            rate=*) set_rate "$name" "${key#*=}" ;;
        esac
    done
}

# Processes that run stay on the cores of their host.
fits_its_cores() {
    local host core load own=,${cores[$1]},
    for core in ${cores[$1]//,/ }; do
        load=0
        for host in "${!names[@]}"; do
            [[ ,${cores[host]}, != *,$core,* ]] || load=$((load + $(host_load "$host")))
        done
        [ "$load" -le 900 ] ||
            die "set: hosts on core $core would have $(decimal "$load") of it: at most 0.9"
    done
}

# What a host takes of each of its cores.
host_load() {
    local list=(${cores[$1]//,/ })
    echo $(($(per_mille "${cpus[$1]}") / ${#list[@]}))
}

status() {
    local host
    find_hosts
    [ ${#names[@]} -gt 0 ] || { echo "# no lab is up"; exit 1; }
    printf '# %-6s %-13s %6s %6s %9s %9s\n' host address cpu cores rate processes
    for host in "${!names[@]}"; do
        printf '  %-6s %-13s %6s %6s %9s %9s\n' "${names[host]}" \
            "$(ip -n "$prefix${names[host]}" -o -4 addr show eth0 | awk '{ print $4 }')" \
            "${cpus[host]}" "${cores[host]}" "${rates[host]}" \
            "$(wc -l <"$cgroups/$prefix${names[host]}/cgroup.procs")"
    done
}
