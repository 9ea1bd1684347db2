# The lab file, and which cores its hosts get (sourced by lab.sh).

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
