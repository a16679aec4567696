#!/usr/bin/env bash
# Brings units of systemd to their desired state; sent by operations/systemd.py.
#
# Standard input: lines of an action and a unit. The actions are daemon-reload (for all units), unmask, mask (and stop),
# enable, disable, stop, reset-failed, reload, restart and start; they are done in this order, each for all its units at
# once, so that systemd orders starts by the units' own dependencies.
set -euo pipefail
export LC_ALL=C

declare -A units_of
while IFS=' ' read -r action unit; do
    if [[ -n $unit ]]; then units_of[$action]+=" $unit"; fi
done

# Units named by an action, in `units`; false if there are none.
named() {
    read -r -a units <<<"${units_of[$1]-}"
    ((${#units[@]}))
}

property() { systemctl show --value --property="$1" -- "$2"; }

if named daemon-reload; then systemctl daemon-reload; fi
if named unmask; then systemctl unmask --quiet -- "${units[@]}"; fi
if named mask; then
    systemctl mask --quiet -- "${units[@]}"
    for unit in "${units[@]}"; do # `mask --now` fails for a missing unit
        [[ $(property ActiveState "$unit") =~ ^(inactive|failed)$ ]] || systemctl stop -- "$unit"
    done
fi
if named enable; then systemctl enable --quiet -- "${units[@]}"; fi
if named disable; then systemctl disable --quiet -- "${units[@]}"; fi
if named stop; then systemctl stop -- "${units[@]}"; fi
if named reset-failed; then systemctl reset-failed -- "${units[@]}"; fi

failed=()
if named reload; then
    for unit in "${units[@]}"; do
        systemctl reload -- "$unit" || failed+=("$unit")
    done
fi

read -r -a starting <<<"${units_of[start]-} ${units_of[restart]-}"
if ((${#starting[@]})); then
    # Without a reset, a unit at its start limit could not start before the interval of the limit is over.
    systemctl reset-failed -- "${starting[@]}" 2>/dev/null || true
    # The result of each unit is checked below.
    if named restart; then systemctl restart -- "${units[@]}" || true; fi
    if named start; then systemctl start -- "${units[@]}" || true; fi

    declare -A invocation
    for unit in "${starting[@]}"; do invocation[$unit]=$(property InvocationID "$unit"); done
    sleep 1
    for unit in "${starting[@]}"; do
        active=$(property ActiveState "$unit")
        case $active in
        active | reloading)
            # `Restart=` hides a process that dies at once, but the invocation is another one then.
            [[ $(property InvocationID "$unit") == "${invocation[$unit]}" ]] || failed+=("$unit")
            ;;
        inactive)
            if [[ $(property ConditionResult "$unit") == no && -n $(property ConditionTimestamp "$unit") ]]; then
                printf '%s: not started, its own conditions are not met here\n' "$unit"
            elif [[ $(property Type "$unit") != oneshot || $(property Result "$unit") != success ]]; then
                failed+=("$unit")
            fi
            ;;
        *) failed+=("$unit") ;;
        esac
    done
fi

if ((${#failed[@]})); then
    for unit in "${failed[@]}"; do
        printf '%s: last log lines:\n' "$unit" >&2
        journalctl --no-pager --quiet --lines=20 --output=short-iso --unit="$unit" 2>&1 | sed 's/^/    /' >&2 || true
    done
    for unit in "${failed[@]}"; do
        printf '%s: found %s (%s, result %s), expected it to start and stay up; see its log lines above\n' "$unit" \
            "$(property ActiveState "$unit")" "$(property SubState "$unit")" "$(property Result "$unit")" >&2
    done
    exit 1
fi
