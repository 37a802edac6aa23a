# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_xen_handoff_global_optspecs
    string join \n h/help V/version
end

function __fish_xen_handoff_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_xen_handoff_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_xen_handoff_using_subcommand
    set -l cmd (__fish_xen_handoff_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -s V -l version -d 'Print version'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "keys" -d 'Make the cluster\'s key pair and print what each node needs to know of it'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "status" -d 'Show this node\'s offers and transfers'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "history" -d 'Show the moves that began at this node, in either direction'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l node -d 'This node\'s name in the cluster [default: the host\'s name]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l authorized-line -d 'Print the line for authorized_keys and nothing else'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -l json -d 'As JSON: a list of objects with domain, presence, record, progress'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l to -d 'Only this node [default: every other node that is online]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l config -d 'Its configuration file [default: the resource\'s xmfile]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l json -d 'As JSON: a list of objects with node and checks (check, result, found, do)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s n -l last -d 'How many, the newest ones' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l json -d 'As JSON: one object a line, as in /var/lib/xen-handoff/moves.jsonl'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l as-node -d 'This node\'s name in the cluster [default: the host\'s name]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l user -d 'User on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l port -d 'Port of sshd on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l network-suffix -d 'Suffix of node names on the migration network' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -l dry-run -d 'Show and conclude, but change nothing on either end'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand agent" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "keys" -d 'Make the cluster\'s key pair and print what each node needs to know of it'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "status" -d 'Show this node\'s offers and transfers'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "history" -d 'Show the moves that began at this node, in either direction'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight history reach recover agent help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
