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
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "status" -d 'Show the offers and transfers of this node, or of all'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "adopt" -d 'Take over the domains that ocf:heartbeat:Xen manages, while they run'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "drain" -d 'Empty a node: put it in standby, and watch its domains leave'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "history" -d 'Show the moves that began at this node, in either direction'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "bench" -d 'Measure a domain while it moves, from any machine that reaches it'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l node -d 'This node\'s name in the cluster [default: the host\'s name]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -l authorized-line -d 'Print the line for authorized_keys and nothing else'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand keys" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s a -l all -d 'Of every node of the cluster, over the transport'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s w -l watch -d 'Show them again every two seconds, until interrupted'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -l json -d 'As JSON: a list of objects with node, domain, presence, record, progress; with --watch one list a line'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand status" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l to -d 'Only this node [default: every other node that is online]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l config -d 'Its configuration file [default: the resource\'s xmfile]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -l json -d 'As JSON: a list of objects with node and checks (check, result, hinders, found, do)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand preflight" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand adopt" -l dry-run -d 'Print the commands, and give none'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand adopt" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l timeout -d 'How long to watch, in seconds' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l plan -d 'Only say what would become of each domain, and what is to blame for a reboot'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -l json -d 'The plan as JSON: a list of objects with resource, to, how, because, do, expected (seconds, by: history or memory)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s n -l last -d 'How many, the newest ones' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l json -d 'As JSON: one object a line, as in /var/lib/xen-handoff/moves.jsonl'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -l metrics -d 'All of them, counted, as the textfile collector of node_exporter reads it'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand history" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l as-node -d 'This node\'s name in the cluster [default: the host\'s name]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l user -d 'User on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l port -d 'Port of sshd on both nodes' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -l network-suffix -d 'Suffix of node names on the migration network' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand reach" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -l dry-run -d 'Show and conclude, but change nothing on either end'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand recover" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and not __fish_seen_subcommand_from rtt memory compare help" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "rtt" -d 'Ping a domain, give a command that makes it move, and say what its users saw'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "memory" -d 'Response times and processor use of a guest that holds more and more memory, or that moves meanwhile'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "compare" -d 'Show several results of bench rtt in one table, beside the paper\'s figures'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l count -d 'How many pings' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l interval -d 'Time between two pings; below 2 ms ping wants root, before iputils 20211215 below 200 ms' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l duration -d 'How long, in whole seconds, in place of --count' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l at -d 'When the command is given [default: 9s]; without a command, when you do it by hand' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l out -d 'Folder for rtt.json, rtt.csv, rtt.svg, ping.txt and the command\'s output' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l name -d 'What this measurement is called in tables [default: the host]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l node -d 'Node whose journal has the transfer\'s events, read by ssh when the pings are over; for each node once' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l ssh-config -d 'Configuration for ssh, in place of your own' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l events -d 'Events from a file, as journalctl -o short-unix writes them' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l domain -d 'The domain whose events count, where there are those of several' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l stats -d 'Where the guest\'s xen-handoff-load answers /stats, to count its reboots' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l rows -d 'File of rows to add this measurement to, or to renew it in, by its name' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -l json -d 'Print the figures as JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from rtt" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l port -d 'Port on which its xen-handoff-load listens' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l uri -d 'What httperf asks for' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l steps -d 'How many steps of 10 MiB up, and down again' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l num-conns -d 'How many connections httperf makes at each step, a call each' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l rate -d 'How many of them in a second' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l timeout -d 'How long an answer may take' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l client -d 'Run httperf and curl on that machine, by ssh [default: here]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l node -d 'Node whose processors are watched, by ssh; for each node once [default: this machine]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l ssh-config -d 'Configuration for ssh, in place of your own' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l out -d 'Folder for memory.json, memory.csv and memory.svg' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l name -d 'What this measurement is called in tables [default: the server]' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l duration -d 'How long that is measured' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l at -d 'When the command is given' -r
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l during -d 'Hold all steps of memory, and measure over time while the command is given'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -l json -d 'Print the figures as JSON'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from memory" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from compare" -l plot -d 'Draw them under each other into this SVG file' -r -F
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from compare" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "rtt" -d 'Ping a domain, give a command that makes it move, and say what its users saw'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "memory" -d 'Response times and processor use of a guest that holds more and more memory, or that moves meanwhile'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "compare" -d 'Show several results of bench rtt in one table, beside the paper\'s figures'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand bench; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand agent" -s h -l help -d 'Print help'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "keys" -d 'Make the cluster\'s key pair and print what each node needs to know of it'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "status" -d 'Show the offers and transfers of this node, or of all'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "preflight" -d 'Check whether other nodes can take a domain, before anything moves'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "adopt" -d 'Take over the domains that ocf:heartbeat:Xen manages, while they run'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "drain" -d 'Empty a node: put it in standby, and watch its domains leave'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "history" -d 'Show the moves that began at this node, in either direction'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "reach" -d 'Try whether another node answers over the transport, and can reach this one'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "recover" -d 'Settle a transfer that broke off: show both ends, conclude, act'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "bench" -d 'Measure a domain while it moves, from any machine that reaches it'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "agent" -d 'Act as the OCF agent: the action as argument, the rest in the environment'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and not __fish_seen_subcommand_from keys status preflight adopt drain history reach recover bench agent help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "rtt" -d 'Ping a domain, give a command that makes it move, and say what its users saw'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "memory" -d 'Response times and processor use of a guest that holds more and more memory, or that moves meanwhile'
complete -c xen-handoff -n "__fish_xen_handoff_using_subcommand help; and __fish_seen_subcommand_from bench" -f -a "compare" -d 'Show several results of bench rtt in one table, beside the paper\'s figures'
