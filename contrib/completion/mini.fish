# Completion of mini's commands for fish. What there is to choose from they say themselves, with --help:
# so this holds for every version.

function __mini_chosen
    set -l words (commandline -opc)
    set -l chosen $words[1]
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

function __mini_options
    set -l chosen (__mini_chosen)
    if string match -q '*mini-init' -- $chosen[-1]
        printf '%s\n' --check --help --version
    else
        $chosen --help 2>/dev/null | string replace -rf '^  (?:-[A-Za-z], )?(--[a-z-]+)(?: [A-Z]\S*)? +(.*)$' '$1\t$2'
    end
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
            $chosen --help 2>/dev/null | string replace -rf '^  ([a-z][a-z-]*)(?: [A-Z\[]\S*)* +(.*)$' '$1\t$2'
    end
end

for command in mini mini-launch mini-grant mini-pack mini-init
    complete -c $command -n 'string match -q -- "-*" (commandline -ct)' -a '(__mini_options)'
    complete -c $command -a '(__mini_commands)'
end
complete -c mini-launch -l engine -x -a 'auto kvm lguest builtin software'
complete -c mini-launch -c mini-grant -l sandbox -x -a 'on require'
complete -c mini-launch -l console -x -a 'serial virtio screen'
