# shellcheck shell=bash disable=SC2088,SC2154
# Completion in bash, zsh and fish: what they offer behind words of a command line, the last of which is empty or has
# begun. Sourced by system.sh.

# Each of these prints it, one a line, with what is said of it behind a colon where the shell shows that.
in_bash() {
    (
        # shellcheck source=/dev/null
        source contrib/completion/mini.bash
        # shellcheck disable=SC2034
        HOME=$root COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        _mini
        printf '%s\n' "${COMPREPLY[@]}"
    )
}
# What the completion system would show is printed, whatever has begun.
in_zsh() {
    # shellcheck disable=SC2016
    HOME=$root zsh -f -c '
        _describe() { print -rl -- ${(P)2} }
        compadd() { shift; print -rl -- $@ }
        compset() { PREFIX=${PREFIX#*=} }
        _files() { : }
        words=("$@") CURRENT=$# PREFIX=$words[-1]
        source contrib/completion/_mini' zsh "$@" | grep -e "^${*: -1}"
}
in_fish() {
    # shellcheck disable=SC2016
    HOME=$root fish --no-config -c 'source contrib/completion/mini.fish; complete -C"$argv"' "$*" | tr '\t' :
}
# offered WORDS...: the same without what is said, in one line. Nobody wants to hear of errors at a prompt.
offered() { "in_$shell" "$@" 2>&1 | sed 's/:.*//' | sort | paste -sd' '; }

for arch in x86_64 i386; do "out/$arch/mini" --version >/dev/null 2>&1 && break; done
grant=out/$arch/mini-grant
for shell in bash zsh fish; do
    if ! "out/$arch/mini" --version >/dev/null 2>&1; then
        skip "$shell: completion" "this machine does not run what was built"
        continue
    fi
    if ! "$shell" --version >/dev/null 2>&1; then
        skip "$shell: completion" "$shell is not installed"
        continue
    fi
    check "$shell completes applets, subcommands and verbs" \
        "$(offered "out/$arch/mini" mini-g; offered "$grant" st; offered "$grant" event ''; offered "$grant" store w)" = \
        $'mini-grant\nstore\nbind notify wait\nwait watch'
    check "$shell: verbs behind --and" "$(offered "$grant" store set /a 1 --and w)" = "wait watch"
    check "$shell: options of verbs" \
        "$(offered "$grant" event wait --c; offered "$grant" store watch --c)" = $'--count\n--count'
    check "$shell: --help and --version where something is to be chosen first, and --and behind verbs of the store" \
        "$(offered "out/$arch/mini" --; offered "$grant" --; offered "$grant" store --; offered "$grant" store get /a --a)" = \
        $'--help --version\n--help --version\n--help --version\n--and'
    check "$shell: what an option takes one of, below mini, too" \
        "$(offered "out/$arch/mini" mini-launch --engine ''; offered "out/$arch/mini-launch" --console s)" = \
        $'auto builtin kvm lguest software\nscreen serial'
    # shellcheck disable=SC2016
    check "$shell: of a command that was typed with a tilde or a variable" \
        "$(offered "~/out/$arch/mini-launch" --en; offered "\$HOME/out/$arch/mini-launch" --en)" = $'--engine\n--engine'
    check "$shell: and nothing is said of one that is not there" "$(offered "~/nowhere/mini-launch" --)" = ""
    [[ $shell != bash ]] || continue
    check "$shell: what is said begins behind the name and what it takes, also where they fill their column" \
        "$("in_$shell" "$grant" map --deadl; "in_$shell" "$grant" store g; "in_$shell" "$grant" store chm)" = \
        "--deadline:how long to wait for the other side (10)
get:print the values of entries
chmod:print or set who may use an entry (n0 r3)"
done
