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
#   scripts/lab.sh down         ends what runs in the lab and removes all of it; not the lab of a
#                               `run` or `hold` that lives: that one removes its own at its end
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

for part in file limits hosts; do
    # shellcheck source=/dev/null
    source "${self%.sh}/$part.sh"
done

die() {
    echo "lab.sh: $*" >&2
    exit 1
}

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
    # `ip netns exec` gives a /sys of its own; the quota is to be seen there, as in a container.
    exec taskset -c "$host" ip netns exec "$prefix$name" unshare --uts \
        bash -c 'echo "$0" >/proc/sys/kernel/hostname; show() {
            if [ "$2" = 2 ]; then mount -t cgroup2 none /sys/fs/cgroup
            else mount -t tmpfs none /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu &&
                mount -t cgroup -o cpu none /sys/fs/cgroup/cpu
            fi; }; show "$0" "$2" 2>/dev/null; eval "$1"' "$name" "$*" $version
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
    down:0)
        check
        own_the_lab
        down
        ;;
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
