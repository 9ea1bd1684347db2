#!/usr/bin/env bash
# Two "hosts" on this machine: network namespaces with a link of a given rate between them.
#
#   scripts/netns.sh up RATE          e.g. 100mbit, a rate as tc writes it
#   scripts/netns.sh down             removes all of it, and ends what still runs in it
#   scripts/netns.sh hold RATE        up, prints "ready", waits for the end of stdin, then down
#   scripts/netns.sh agent ADDRESS COMMAND…   COMMAND inside the host with this address: mpirun's
#                                     plm_rsh_agent
#
# Host N is the namespace autodice-N with the address 10.77.0.N; the bridge that joins them,
# autodice-br, has 10.77.0.254, so that mpirun outside of the hosts can talk to its daemons.
set -euo pipefail
hosts=(1 2)
bridge=autodice-br

die() {
    echo "netns.sh: $*" >&2
    exit 1
}

down() {
    local n pid ended=
    for n in "${hosts[@]}"; do
        [ -e "/var/run/netns/autodice-$n" ] || continue
        for pid in $(ip netns pids "autodice-$n"); do
            kill -KILL "$pid" 2>/dev/null && ended=1
        done
    done
    # An mpirun outside ends when it hears that its daemons have: they still need their link.
    [ -z "$ended" ] || sleep 0.5
    for n in "${hosts[@]}"; do
        [ ! -e "/var/run/netns/autodice-$n" ] || ip netns del "autodice-$n" || true
        # With its namespace an end goes away a moment later, and the other end with it.
        ip link del "autodice-v$n" 2>/dev/null || true
    done
    ip link del "$bridge" 2>/dev/null || true
}

up() {
    local rate=$1 n inside
    [ "$(id -u)" = 0 ] || die "network namespaces need root"
    for tool in ip tc; do
        command -v "$tool" >/dev/null || die "'$tool' is missing (Debian: iproute2)"
    done
    for n in "${hosts[@]}"; do
        [ ! -e "/var/run/netns/autodice-$n" ] || die "autodice-$n is there already: '$0 down'"
    done
    [ ! -e "/sys/class/net/$bridge" ] || die "$bridge is there already: '$0 down'"
    trap down EXIT
    trap 'exit 130' INT TERM HUP
    ip link add "$bridge" type bridge
    ip addr add 10.77.0.254/24 dev "$bridge"
    ip link set "$bridge" up
    for n in "${hosts[@]}"; do
        inside=(ip -n "autodice-$n")
        ip netns add "autodice-$n"
        ip link add "autodice-v$n" type veth peer name eth0 netns "autodice-$n"
        ip link set "autodice-v$n" master "$bridge" up
        "${inside[@]}" addr add "10.77.0.$n/24" dev eth0
        "${inside[@]}" link set lo up
        "${inside[@]}" link set eth0 up
        # A token bucket on either end shapes both directions.
        tc qdisc add dev "autodice-v$n" root tbf rate "$rate" burst "$(burst "$rate")" latency 400ms
        tc -n "autodice-$n" qdisc add dev eth0 root tbf rate "$rate" burst "$(burst "$rate")" \
            latency 400ms
    done
}

# Two frames of Ethernet at 100 Mbit/s, what 0.13 ms let through at 1 Gbit/s: a bucket that holds a
# whole message lets it pass unshaped after every pause.
burst() {
    case $1 in
        *gbit) echo 16kb ;;
        *) echo 3kb ;;
    esac
}

case ${1:-} in
    up)
        [ $# = 2 ] || die "up needs a rate, e.g. 100mbit"
        up "$2"
        trap - EXIT
        ;;
    down) down ;;
    hold)
        [ $# = 2 ] || die "hold needs a rate, e.g. 100mbit"
        up "$2"
        echo ready
        cat >/dev/null
        ;;
    agent)
        [ $# -ge 3 ] || die "agent needs an address and a command"
        address=$2
        shift 2
        exec ip netns exec "autodice-${address##*.}" bash -c "$*"
        ;;
    *) die "up RATE, down, hold RATE, or agent ADDRESS COMMAND" ;;
esac
