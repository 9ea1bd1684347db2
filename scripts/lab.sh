#!/usr/bin/env bash
# The edge lab: several slow hosts on this machine, as a lab file lists them. Needs root.
#
#   scripts/lab.sh run LABFILE [MPIRUN FLAGS…] -- COMMAND…
#                               up, mpirun over the hosts, a rank on each; down; mpirun's code
#   scripts/lab.sh up LABFILE   removes an earlier lab, makes the hosts, prints the mpirun line
#   scripts/lab.sh mpirun …     mpirun with the flags for the lab that is up
#   scripts/lab.sh flags        those flags, one a line
#   scripts/lab.sh set HOST cpu=0.2 rate=100mbit    also while a job runs
#   scripts/lab.sh status       the hosts, as the kernel has them; 1 where there is none
#   scripts/lab.sh down         ends what runs in the lab and removes all of it
#   scripts/lab.sh hold LABFILE up, prints "ready", waits for the end of stdin, down
#   scripts/lab.sh check        whether this machine can have a lab; else a line that says why not
#   scripts/lab.sh agent HOST COMMAND…    COMMAND on that host: mpirun's plm_rsh_agent
#
# A line of a lab file: `host NAME cpu CORES rate RATE`, e.g. `host e1 cpu 0.45 rate 100mbit`; CORES
# is a number or `max` (a core without quota), RATE has the unit kbit, mbit or gbit, or is `max`
# (not shaped); # begins a comment.
#
# Host N of the file is the network namespace autodice-NAME with the address 10.77.0.N and a host
# name of its own; its eth0 leads to autodice-NAME on the bridge autodice-br, which has
# 10.77.0.254. The quota is the cgroup autodice-NAME; mpirun itself runs in the cgroup
# autodice-lab. The kernel is the only place where any of this is kept, and all of it is found by
# the prefix, so that `down` works whatever has happened before.
set -euo pipefail
prefix=autodice-
bridge=${prefix}br
net=10.77.0
self=$(readlink -f "$0")
names=() cpus=() rates=() cores=() # by host, as the lab file has them
loads=()                           # by core: the share of it that hosts have, in 1/1000

die() {
    echo "lab.sh: $*" >&2
    exit 1
}

# ---- the lab file

# A share in 1/1000 of a core: of a number, or of "max", which takes what one core has to give.
per_mille() {
    [ "$1" != max ] || { echo 900; return; }
    [[ $1 =~ ^[0-9]{1,3}(\.[0-9]{1,3})?$ ]] || return 1
    awk -v cores="$1" 'BEGIN { mille = int(cores * 1000 + 0.5); print mille; exit mille < 1 }'
}

# Bits per second; 0 for "max".
bits() {
    [ "$1" != max ] || { echo 0; return; }
    [[ $1 =~ ^([0-9]{1,4}(\.[0-9]{1,3})?)(k|m|g)bit$ ]] || return 1
    awk -v number="${BASH_REMATCH[1]}" -v unit="${BASH_REMATCH[3]}" 'BEGIN {
        rate = number * (unit == "k" ? 1e3 : unit == "m" ? 1e6 : 1e9)
        printf "%.0f\n", rate; exit rate < 1000 }'
}

read_lab() {
    local file=$1 line number=0 words
    [ -r "$file" ] || die "$file: no such lab file; labs/ has some"
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        read -ra words <<<"${line%%#*}"
        [ ${#words[@]} -gt 0 ] || continue
        [[ ${#words[@]} = 6 && "${words[0]} ${words[2]} ${words[4]}" = "host cpu rate" ]] ||
            die "$file:$number: '$line': wanted 'host NAME cpu CORES rate RATE'"
        [[ ${words[1]} =~ ^[a-z][a-z0-9]{0,5}$ && ! ${words[1]} =~ ^(br|lab|check)$ ]] ||
            die "$file:$number: host '${words[1]}': wanted a letter and at most five letters or" \
                "digits, not br, lab or check"
        [[ " ${names[*]} " != *" ${words[1]} "* ]] ||
            die "$file:$number: host ${words[1]} is there twice"
        per_mille "${words[3]}" >/dev/null ||
            die "$file:$number: cpu '${words[3]}': wanted cores, e.g. 0.45, or max"
        bits "${words[5]}" >/dev/null ||
            die "$file:$number: rate '${words[5]}': wanted e.g. 100mbit, 1gbit, or max"
        names+=("${words[1]}") cpus+=("${words[3]}") rates+=("${words[5]}")
    done <"$file"
    [[ ${#names[@]} -ge 1 && ${#names[@]} -le 250 ]] ||
        die "$file: ${#names[@]} hosts: wanted 1 to 250"
}

# Gives every host cores of its own choice, the largest first, each time those with the least load.
# A host keeps its cores: one core of a machine may be slower than another, and a host that
# wandered would be now this, now that device. A tenth of each core stays free for the links, which
# the kernel drives, and for mpirun.
place() {
    local where=$1 host share count core best sum=0 most allowed=() order
    mapfile -t allowed < <(own_cores)
    for core in "${allowed[@]}"; do loads[core]=0; done
    for host in "${!names[@]}"; do sum=$((sum + $(per_mille "${cpus[host]}"))); done
    most=$((900 * ${#allowed[@]}))
    [ "$sum" -le $most ] ||
        die "$where: hosts ask for $(decimal "$sum") cores: of ${#allowed[@]} they may have" \
            "$(decimal $most), 0.9 of each"
    order=$(for host in "${!names[@]}"; do echo "$(per_mille "${cpus[host]}") $host"; done |
        sort -k1,1nr -k2,2n | cut -d' ' -f2)
    for host in $order; do
        share=$(per_mille "${cpus[host]}")
        count=$(((share + 899) / 900)) cores[host]=
        for _ in $(seq "$count"); do
            best=
            for core in "${allowed[@]}"; do
                [[ ",${cores[host]}" != *",$core,"* ]] || continue
                [[ -n $best && ${loads[core]} -ge ${loads[best]} ]] || best=$core
            done
            loads[best]=$((loads[best] + share / count)) cores[host]+=$best,
            [ "${loads[best]}" -le 900 ] ||
                die "$where: host ${names[host]}: cpu ${cpus[host]}: so much is left on no core:" \
                    "hosts keep to a core, and may have 0.9 of each"
        done
        cores[host]=${cores[host]%,}
    done
}

decimal() {
    awk -v mille="$1" 'BEGIN { print mille / 1000 }'
}

# The cores that this process may use, one a line.
own_cores() {
    taskset -cp $$ | sed 's/.*: //' | tr , '\n' | while IFS=- read -r first last; do
        seq "$first" "${last:-$first}"
    done
}

# ---- cgroups: version 1 where its controller is there, else version 2

if [ -e /sys/fs/cgroup/cpu/cgroup.procs ]; then
    cgroups=/sys/fs/cgroup/cpu version=1
else
    cgroups=/sys/fs/cgroup version=2
fi

make_cgroup() {
    if [ $version = 2 ] && ! grep -qw cpu $cgroups/cgroup.subtree_control 2>/dev/null; then
        # Writing the file is refused, not made, where nobody may.
        echo +cpu 2>/dev/null >$cgroups/cgroup.subtree_control || true
    fi
    mkdir "$cgroups/$prefix$1" 2>/dev/null && [ -e "$(quota_file "$1")" ] ||
        die "$cgroups/$prefix$1: no cgroup with a CPU quota can be made here"
}

quota_file() {
    local files=([1]=cpu.cfs_quota_us [2]=cpu.max)
    echo "$cgroups/$prefix$1/${files[version]}"
}

# The quota of a host in µs for each period of 10 ms. The kernel looks at a quota at each of its
# ticks, 4 ms apart at 250 Hz: of three hosts with 0.45 core that had 1 ms in 2.2 ms each got 0.35
# to 0.41, with 2.25 in 5 ms 0.40 to 0.45, with 4.5 in 10 ms 0.449 to 0.451, and in none of them
# pauses were shorter than a tick. Its least quota is 1 ms.
set_cpu() {
    local quota=-1 period=10000 folder=$cgroups/$prefix$1 share
    if [ "$2" != max ]; then
        share=$(per_mille "$2")
        [ "$share" -ge 100 ] || period=$((1000000 / share))
        quota=$((period * share / 1000))
        [ "$quota" -ge 1000 ] || quota=1000
    fi
    if [ $version = 2 ]; then
        [ "$quota" != -1 ] || quota=max
        echo "$quota $period" >"$folder/cpu.max"
    else
        echo -1 >"$folder/cpu.cfs_quota_us"
        echo "$period" >"$folder/cpu.cfs_period_us"
        echo "$quota" >"$folder/cpu.cfs_quota_us"
    fi
}

# What the kernel says: a number of cores, or max.
get_cpu() {
    local folder=$cgroups/$prefix$1 quota period
    if [ $version = 2 ]; then
        read -r quota period <"$folder/cpu.max"
    else
        quota=$(cat "$folder/cpu.cfs_quota_us") period=$(cat "$folder/cpu.cfs_period_us")
    fi
    case $quota in
        -1 | max) echo max ;;
        *) awk -v quota="$quota" -v period="$period" 'BEGIN { printf "%.3g\n", quota / period }' ;;
    esac
}

# ---- links

# A token bucket at either end shapes both directions. It holds what 0.13 ms let through, and at
# least two frames of Ethernet: one that held a whole message would let it pass unshaped after
# every pause. TCP hands over packets of many frames, which the bucket would have to take apart, a
# frame each, where it cannot hold them: at 1 Gbit/s 1 MiB then went at 0.72 of the rate, and goes
# at 0.95 where a packet is at most half a bucket. Connections ask for that once, when they begin.
set_rate() {
    local rate=$2 burst packet=65536
    if [ "$rate" = max ]; then
        tc qdisc del dev "$prefix$1" root 2>/dev/null || true
        tc -n "$prefix$1" qdisc del dev eth0 root 2>/dev/null || true
    else
        burst=$(awk -v bits="$(bits "$rate")" 'BEGIN { bytes = bits * 130e-6 / 8
            printf "%.0f\n", bytes < 3072 ? 3072 : bytes }')
        [ "$burst" -le 4096 ] || packet=$((burst / 2 < 65536 ? burst / 2 : 65536))
        tc qdisc replace dev "$prefix$1" root tbf rate "$rate" burst "$burst" latency 400ms
        tc -n "$prefix$1" qdisc replace dev eth0 root tbf rate "$rate" burst "$burst" latency 400ms
    fi
    ip link set "$prefix$1" gso_max_size $packet
    ip -n "$prefix$1" link set eth0 gso_max_size $packet
}

get_rate() {
    local rate
    rate=$(tc qdisc show dev "$prefix$1" | sed -n 's/.* rate \([^ ]*\) .*/\1/p')
    echo "${rate:-max}"
}

# ---- the lab as the kernel has it

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

# ---- up and down

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
        flock -w 60 9 || die "a lab is in use: '$0 down' ends it"
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
        make_cgroup "$name"
        set_rate "$name" "${rates[host]}"
        set_cpu "$name" "${cpus[host]}"
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

# ---- mpirun

# One argument a line. Without `--bind-to none` Open MPI would count cores that are not the host's.
flags() {
    need_lab
    printf '%s\n' --allow-run-as-root --mca plm rsh --mca plm_rsh_agent "$self agent" \
        --mca pml ob1 --mca btl tcp,self \
        --mca btl_tcp_if_include $net.0/24 --mca oob_tcp_if_include $net.0/24 --bind-to none \
        -host "$(IFS=,; echo "${names[*]}")"
}

# Replaced by mpirun, in the cgroup by which `down` finds it.
mpirun_here() {
    local lines
    mapfile -t lines < <(flags)
    echo $BASHPID >"$cgroups/${prefix}lab/cgroup.procs"
    exec mpirun "${lines[@]}" "$@"
}

run() {
    local file=$1 own=() pid code=0
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do own+=("$1"); shift; done
    [ $# -ge 2 ] || die "run LABFILE [MPIRUN FLAGS…] -- COMMAND…"
    shift
    own_the_lab
    up "$file"
    # In the background, so that a signal to this process is heard at once and handed on; without
    # the lock, which must end with this process.
    (mpirun_here "${own[@]}" "$@") <&0 9>&- &
    pid=$!
    trap 'kill -TERM $pid 2>/dev/null' INT TERM HUP
    wait $pid || code=$?
    while kill -0 $pid 2>/dev/null; do code=0; wait $pid || code=$?; done
    exit $code
}

agent() {
    local name=$1 host
    shift
    if [[ $name =~ ^$net\.([0-9]+)$ ]]; then
        find_hosts
        name=${names[BASH_REMATCH[1] - 1]:-$name}
    fi
    [ -e "/sys/class/net/$prefix$name/ifalias" ] || die "agent: no host '$name'"
    host=$(sed 's/.*cores //' "/sys/class/net/$prefix$name/ifalias")
    echo $$ >"$cgroups/$prefix$name/cgroup.procs"
    exec taskset -c "$host" ip netns exec "$prefix$name" unshare --uts \
        bash -c 'echo "$0" >/proc/sys/kernel/hostname; eval "$1"' "$name" "$*"
}

command=${1:-}
[ $# = 0 ] || shift
case $command:$# in
    up:1)
        own_the_lab
        up "$1"
        trap - EXIT
        status
        echo "mpirun$(flags | awk '{ printf / / ? " \"%s\"" : " %s", $0 }') COMMAND…"
        ;;
    down:0) down ;;
    hold:1)
        own_the_lab
        up "$1"
        echo ready
        cat >/dev/null 9>&-
        ;;
    run:*) [ $# -gt 0 ] || die "run LABFILE [MPIRUN FLAGS…] -- COMMAND…"; run "$@" ;;
    mpirun:*) need_lab; mpirun_here "$@" ;;
    set:*) [ $# -gt 0 ] || die "set HOST cpu=CORES rate=RATE"; change "$@" ;;
    status:0 | flags:0) $command ;;
    check:0) check_all ;;
    agent:*) [ $# -gt 1 ] || die "agent HOST COMMAND…"; agent "$@" ;;
    *) die "run, up, mpirun, flags, set, status, down, hold, check or agent: see the file's head" ;;
esac
