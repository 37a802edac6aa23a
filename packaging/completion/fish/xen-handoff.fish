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
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "keys" -d 'Make this node\'s key pair, and bring to the nodes what they must know of each other'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "check" -d 'Check the set-up of all nodes: keys, ways, guard, scheduler, clocks, files, disks, timeouts'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "status" -d 'Show the offers and transfers of this node, or of all'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "adopt" -d 'Take over the domains that ocf:heartbeat:Xen manages, while they run'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "drain" -d 'Empty a node: put it in standby, and watch its domains leave'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "history" -d 'Show the moves that began at this node, in either direction, or those of all nodes'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "explain" -d 'Say what a message means: what happened, why, what holds now, what to do'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l remove -d 'Take no key for this node\'s any more: a node that is lost, or gone' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l node -d 'This node\'s name in the cluster [default: what the cluster calls it]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l from -d 'From where this node comes: addresses with commas between, or any [default: its addresses]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l export -d 'Print what the other nodes need to know of this one, for --accept there'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l accept -d 'Take from stdin what --export has printed on other nodes'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l distribute -d 'Over root\'s own ssh: a pair on every node, and on every node what it must know of the others'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l rotate -d 'Another pair in the place of this node\'s; the old one goes when the others take the new one'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l remove-shared -d 'Take away the line of a pair that is the same on every node'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l authorized-line -d 'Print the line for authorized_keys on the other nodes and nothing else'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l new -d 'Make a pair although the cluster seems to have one for all nodes'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand check" -l ignore -d 'Leave this check out; may be given several times' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand check" -l json -d 'As JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand check" -l monitoring -d 'One line and the exit status of a monitoring plugin (Nagios, Icinga)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s a -l all -d 'Of every node of the cluster, over the transport'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s w -l watch -d 'Go on showing them: in a terminal as one picture, until q is pressed; else every two seconds'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -l json -d 'As JSON; with --watch one document a line'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l to -d 'Only this node [default: every other node that is online]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l config -d 'Its configuration file [default: the resource\'s xmfile]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l json -d 'As JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand adopt" -l dry-run -d 'Print the commands, and give none'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l timeout -d 'How long to watch, in seconds' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l plan -d 'Only say what would become of each domain, and what is to blame for a reboot'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l json -d 'The plan as JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l force -d 'Do it although a domain would reboot or stop, or may not move'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s n -l last -d 'How many, the newest ones' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l into -d 'With --metrics: into this file, whole, instead of stdout' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s a -l all -d 'Of every node of the cluster, each move once'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l json -d 'As JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l metrics -d 'All of this node\'s, counted, and what is open now, as the textfile collector of node_exporter reads it'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l as-node -d 'This node\'s name in the cluster [default: as the cluster says]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l user -d 'User on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l port -d 'Port of sshd on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l network-suffix -d 'Suffix of node names on the migration network' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -s a -l all -d 'Every node from every other'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l json -d 'With --all, as JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand explain" -l list -d 'All messages, a line each'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand explain" -l json -d 'As JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -l dry-run -d 'Show and conclude, but change nothing on either end'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand agent" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "keys" -d 'Make this node\'s key pair, and bring to the nodes what they must know of each other'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "check" -d 'Check the set-up of all nodes: keys, ways, guard, scheduler, clocks, files, disks, timeouts'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "status" -d 'Show the offers and transfers of this node, or of all'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "adopt" -d 'Take over the domains that ocf:heartbeat:Xen manages, while they run'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "drain" -d 'Empty a node: put it in standby, and watch its domains leave'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "history" -d 'Show the moves that began at this node, in either direction, or those of all nodes'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "explain" -d 'Say what a message means: what happened, why, what holds now, what to do'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys check status preflight adopt drain history reach explain recover agent help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
