# What the parts are written with, in dom0. A result is one line on the console: PASS, FAIL or SKIP;
# END at the part's end counts them, so that a lost line does not go unseen.

pass() { count=$((count + 1)) && echo "PASS $1"; }
fail() { count=$((count + 1)) && echo "FAIL $1: $2"; }
skip() { count=$((count + 1)) && echo "SKIP $1: $2"; }

# check NAME CONDITION...: the condition is a test(1) expression.
check() {
    local name=$1
    shift
    if [ "$@" ]; then pass "$name"; else fail "$name" "$*"; fi
}

# run COMMAND...: sets $output, $errors (one line each) and $code.
run() {
    timeout 600 "$@" >/tmp/output 2>/tmp/errors </dev/null
    code=$?
    output=$(tr '\n' ' ' </tmp/output)
    errors=$(tr '\n' ' ' </tmp/errors)
    output=${output% } errors=${errors% }
}

# expect NAME CODE OUTPUT-PATTERN ERROR-PATTERN: shell patterns over the last run.
expect() {
    # shellcheck disable=SC2254
    case "$code $output" in
    $2\ $3) case "$errors" in $4) pass "$1" && return ;; esac ;;
    esac
    fail "$1" "exit $code (wanted $2) output: $output errors: $errors"
}

# start_domain TYPE: a second domain of type pv or pvh that obeys `there`; sets $domain.
start_domain() {
    cat >/tmp/domain.cfg <<END
name = "$1"
type = "$1"
kernel = "/guests/vmlinux"
ramdisk = "/guests/domu.cpio"
memory = 112
extra = "console=hvc0 quiet panic=-1 cryptomgr.notests=1 mitigations=off tests=obey"
END
    xl create -q /tmp/domain.cfg >/tmp/create 2>&1 || { fail "a $1 domain starts" "$(tr '\n' ' ' </tmp/create)" && return 1; }
    domain=$(xl domid "$1")
    if remote "$domain" true >/tmp/create 2>&1; then pass "a $1 domain starts"; else
        fail "a $1 domain starts" "$(tr '\n' ' ' </tmp/create) $(tail -n 5 "/tmp/guest-$1.log" | tr '\n' ' ')"
        return 1
    fi
}
stop_domain() { xl destroy "$domain"; }

# there COMMAND: `run` in the second domain.
there() {
    remote "$domain" "$1" >/tmp/output 2>/tmp/errors
    code=$?
    output=$(tr '\n' ' ' </tmp/output)
    output=${output% } errors=$(cat /tmp/errors)
}

# grant_there: the second domain grants two pages of text to dom0; sets $references.
grant_there() {
    there 'rm -f /tmp/refs; yes "Hello from the other domain." | head -c 8192 >/tmp/pages; grants share 0 /tmp/pages >/tmp/refs &
        until [ -s /tmp/refs ]; do sleep 0.1; done; cat /tmp/refs'
    references=$output
}

# granter DOMAIN FILE [readonly]: dom0 grants the file's pages; sets $references.
granter() {
    rm -f /tmp/references
    grants share "$@" >/tmp/references 2>&1 &
    granters="$granters $!"
    until [ -s /tmp/references ]; do sleep 0.05; done
    references=$(cat /tmp/references)
}
end_granters() {
    # shellcheck disable=SC2086
    kill $granters && wait $granters
    granters=
}

# report COMMAND...: a program that prints results itself, and ends with 0 or 1.
report() {
    "$@" >/tmp/report 2>&1
    code=$?
    cat /tmp/report
    count=$((count + $(grep -cE '^(PASS|FAIL|SKIP) ' /tmp/report)))
    [ $code -le 1 ] || fail "$1 comes to its end" "exit $code"
}
