# Completion of mini's commands for fish. What there is to choose from they say themselves, with --help:
# so this holds for every version.

function __mini_chosen
    set -l words (commandline -opc)
    # The command as it was typed: where it is, its first part may say.
    set -l chosen $words[1]
    set -l parts (string match -r '^\{?\$(\w+)\}?(/.*)' -- $chosen)
    and set chosen $$parts[2]$parts[3]
    string match -q '~/*' -- $chosen; and set chosen $HOME(string sub -s 2 -- $chosen)
    set -e words[1]
    if string match -q '*mini' -- $chosen[-1]; and string match -q 'mini-*' -- $words[1]
        set -a chosen $words[1]
        set -e words[1]
    end
    if string match -q '*mini-grant' -- $chosen[-1]; and string match -qr '^[a-z]' -- $words[1]
        set -a chosen $words[1]
        set -e words[1]
        if contains -- "$chosen[-1]" event store; and string match -qr '^[a-z]' -- $words[1]
            set -a chosen $words[1]
        end
    end
    string join \n -- $chosen
end

# __mini_help FILTER COMMAND...: words out of the help of a command, with what it says of them.
function __mini_help
    type -q -- $argv[2]; or return
    $argv[2..-1] --help 2>/dev/null </dev/null | string replace -rf $argv[1] '$1\t$2'
end

function __mini_options
    set -l chosen (__mini_chosen)
    type -q -- $chosen[1]; or return
    # What an option takes is one word in capitals; what it does is a column of its own.
    set -l options (__mini_help '^  (?:-[A-Za-z], )?(--[a-z-]+)(?: [A-Z]\S*)? +(.*)$' $chosen)
    # Who lets choose first has a list of that alone.
    test -n "$options"; or set options --help\t'print what there is to choose from' --version\t'print the version'
    string match -q '*mini-init' -- $chosen[-1]; and set -a options --check\t'check a boot table'
    string match -q '*mini-grant store *' -- "$chosen"; and set -a options --and\t'another verb, at once with this one'
    printf '%s\n' $options
end

function __mini_commands
    set -l chosen (__mini_chosen)
    set -l words (commandline -opc)
    if test "$words[-1]" = --and
        # One more verb.
        set -e chosen[-1]
    else
        test (count $chosen) -eq (count $words); or return
    end
    switch $chosen[-1]
        case '*mini-init'
            printf '%s\n' poweroff reboot halt
        case '*mini' '*mini-grant' event store
            __mini_help '^  ([a-z][a-z-]*)(?: [A-Z\[]\S*)* +(.*)$' $chosen
    end
end

# Where a word of a list is due there are no files.
function __mini_choices
    # The option is one word with it, or the word before.
    set -l name (commandline -opc)[-1]
    set -l start (string match -r '^--[a-z]+=' -- (commandline -ct))
    and set name (string trim -rc = -- $start)
    or set start ''
    switch "$name"
        case --engine
            printf '%s\n' $start{auto,kvm,lguest,builtin,software}
        case --console
            printf '%s\n' $start{serial,virtio,screen}
        case --sandbox
            printf '%s\n' $start{on,require}
        case '*'
            __mini_commands
    end
end

for command in mini mini-launch mini-grant mini-pack mini-init
    complete -c $command -n 'string match -q -- "-*" (commandline -ct)' -a '(__mini_options)'
    complete -c $command -n 'count (__mini_choices) >/dev/null' -f -a '(__mini_choices)'
end
