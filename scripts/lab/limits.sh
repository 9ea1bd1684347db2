# What makes a host slow: the quota of its cgroup and the rate of its link (sourced by lab.sh).

# Version 1 where its controller is there, else version 2.
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

# Of a host with a quota, in µs.
PERIOD=10000

# The quota of a host in µs for each period of 10 ms, or of $3. The kernel looks at a quota at each
# of its ticks, 4 ms apart at 250 Hz: of three hosts with 0.45 core that had 1 ms in 2.2 ms each got
# 0.35 to 0.41, with 2.25 in 5 ms 0.40 to 0.45, with 4.5 in 10 ms 0.449 to 0.451, and in none of them
# pauses were shorter than a tick. Its least quota is 1 ms.
set_cpu() {
    local quota=-1 period=${3:-$PERIOD} folder=$cgroups/$prefix$1 share
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

# Lets a host's periods begin when those of the others do: at whole periods of the system's clock.
# The kernel begins them anywhere, and where two hosts of 0.2 core begin theirs 3 ms apart, each
# waits for the other's 2 ms again and again: by rows densenet121 then took up to 1.3 times as long,
# which no pair of slow boards would do, and another time in each lab. While periods are a quarter of
# a millisecond longer than usual each begins so much later, and something must run for it to begin.
align_periods() {
    local folder=$cgroups/$prefix$1 burner count=0 seen=0 late=$PERIOD end=$((SECONDS + 2))
    # A host of less than a tenth of a core has longer periods.
    [ "$2" != max ] && [ "$(per_mille "$2")" -ge 100 ] || return 0
    (echo $BASHPID >"$folder/cgroup.procs" && while :; do :; done) 9>&- &
    burner=$!
    set_cpu "$1" "$2" $((PERIOD + 250))
    count_periods "$1" seen
    while [ "$late" -gt 250 ] && [ $SECONDS -lt $end ]; do
        count_periods "$1" count
        [ "$count" = "$seen" ] || late=$((${EPOCHREALTIME/[.,]/} % PERIOD))
        seen=$count
    done
    set_cpu "$1" "$2"
    kill $burner
    wait $burner 2>/dev/null || true
}

# Keeps the cores from sleeping while the lab is up: as long as a process of its has the file open.
# A host stands still for the rest of each period, and a virtual machine's core that sleeps meanwhile
# comes back slower. mobilenet_v1 alone on a host of 0.2 core took 29 ms of CPU a frame with the core
# awake, 31 to 52 where it slept (BENCHMARKS.md). A board has no neighbours.
stay_awake() {
    [ -w /dev/cpu_dma_latency ] || return 0
    (
        echo $BASHPID >"$cgroups/${prefix}lab/cgroup.procs"
        exec 3>/dev/cpu_dma_latency 9>&-
        printf '\0\0\0\0' >&3 # at most 0 µs to wake up: the kernel's idle loop polls
        exec setsid sleep infinity
    ) </dev/null >/dev/null 2>&1 &
    disown # bash would say that it was killed
}

# How many periods of a host have begun, into a variable: a process for it would take too long.
count_periods() {
    local key value
    while read -r key value; do
        [ "$key" != nr_periods ] || printf -v "$2" %s "$value"
    done <"$cgroups/$prefix$1/cpu.stat"
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

# Reno, which every kernel has and a namespace may choose, whatever this machine's own is. Boards come
# with one that goes by losses as well; BBR, which servers have, found 4.6 to 11.3 of 12.5 MB/s where
# three hosts at 100 Mbit/s sent to each other, and another rate each time; Reno 10.4 to 12.
set_congestion_control() {
    ip netns exec "$prefix$1" bash -c 'echo reno >/proc/sys/net/ipv4/tcp_congestion_control'
}

get_rate() {
    local rate
    rate=$(tc qdisc show dev "$prefix$1" | sed -n 's/.* rate \([^ ]*\) .*/\1/p')
    echo "${rate:-max}"
}
