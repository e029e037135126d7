# Completion of mini's commands for bash. What there is to choose from they say themselves, with --help:
# so this holds for every version.
# shellcheck shell=bash

# _mini_words FILTER COMMAND...: words out of the help of a command.
_mini_words() {
    local filter=$1
    shift
    "$@" --help 2>/dev/null </dev/null | sed -nE "$filter"
}

_mini() {
    local word=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:0:COMP_CWORD}") choices=
    local options='s/^  (-[A-Za-z], )?(--[a-z-]+).*/\2/p' verbs='s/^  ([a-z][a-z-]*) .*/\1/p'
    # The command as it was typed: where it is, its first part may say.
    local home='^~(/.*)' variable='^\$\{?([A-Za-z_][A-Za-z_0-9]*)\}?(/.*)'
    [[ ${words[0]} =~ $home ]] && words[0]=$HOME${BASH_REMATCH[1]}
    [[ ${words[0]} =~ $variable ]] && words[0]=${!BASH_REMATCH[1]}${BASH_REMATCH[2]}
    # The words that choose: an applet, a subcommand, a verb of events or of the store.
    local chosen=("${words[0]}") next
    [[ ${chosen[0]##*/} == mini && ${words[1]-} == mini-* ]] && chosen+=("${words[1]}")
    next=${words[${#chosen[@]}]-}
    if [[ ${chosen[-1]##*/} == mini-grant && $next == [a-z]* ]]; then
        chosen+=("$next")
        next=${words[${#chosen[@]}]-}
        [[ ${chosen[-1]} == @(event|store) && $next == [a-z]* ]] && chosen+=("$next")
    fi
    # What the word is an argument of; bash parts --name=value at the sign.
    local option=${words[-1]}
    [[ $word == '=' ]] && word=
    [[ $option == '=' ]] && option=${words[-2]}
    if [[ $word == -* ]]; then
        choices=$(_mini_words "$options" "${chosen[@]}")
        # Who lets choose first has a list of that alone.
        [[ -n $choices ]] || ! "${chosen[@]}" --help >/dev/null 2>&1 </dev/null || choices='--help --version'
        [[ ${chosen[-1]##*/} == mini-init ]] && choices+=${choices:+ --check}
        [[ ${chosen[*]} == *'mini-grant store '* ]] && choices+=${choices:+ --and}
    elif ((COMP_CWORD == ${#chosen[@]})); then
        case ${chosen[-1]##*/} in
        mini | mini-grant | event | store) choices=$(_mini_words "$verbs" "${chosen[@]}") ;;
        mini-init) choices='poweroff reboot halt' ;;
        esac
    else
        case $option in
        --engine) choices='auto kvm lguest builtin software' ;;
        --console) choices='serial virtio screen' ;;
        --sandbox) choices='on require' ;;
        --and) choices=$(_mini_words "$verbs" "${chosen[@]:0:${#chosen[@]}-1}") ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

complete -o default -F _mini mini mini-launch mini-grant mini-pack mini-init
