# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_xen_handoff_bench_global_optspecs
    string join \n h/help V/version
end

function __fish_xen_handoff_bench_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_xen_handoff_bench_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_xen_handoff_bench_using_subcommand
    set -l cmd (__fish_xen_handoff_bench_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -s h -l help -d 'Print help'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -s V -l version -d 'Print version'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -f -a "rtt" -d 'Ping a domain, give a command that makes it move, and say what its users saw'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -f -a "memory" -d 'Response times and processor use of a guest that holds more and more memory, or that moves meanwhile'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -f -a "compare" -d 'Show several results of rtt in one table, beside the paper\'s figures'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l count -d 'How many pings' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l interval -d 'Time between two pings; below 2 ms ping wants root, before iputils 20211215 below 200 ms' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l duration -d 'How long, in whole seconds, in place of --count' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l at -d 'When the command is given [default: 9s]; without a command, when you do it by hand' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l out -d 'Folder for rtt.json, rtt.csv, rtt.svg, ping.txt and the command\'s output' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l name -d 'What this measurement is called in tables [default: the host]' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l node -d 'Node whose journal has the transfer\'s events, read by ssh when the pings are over; for each node once' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l ssh-config -d 'Configuration for ssh, in place of your own' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l events -d 'Events from a file, as journalctl -o short-unix writes them' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l domain -d 'The domain whose events count, where there are those of several' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l stats -d 'Where the guest\'s xen-handoff-load answers /stats, to count its reboots' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l rows -d 'File of rows to add this measurement to, or to renew it in, by its name' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -l json -d 'Print the figures as JSON'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand rtt" -s h -l help -d 'Print help'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l port -d 'Port on which its xen-handoff-load listens' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l uri -d 'What httperf asks for' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l steps -d 'How many steps of 10 MiB up, and down again' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l num-conns -d 'How many connections httperf makes at each step, a call each' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l rate -d 'How many of them in a second' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l timeout -d 'How long an answer may take' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l client -d 'Run httperf and curl on that machine, by ssh [default: here]' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l node -d 'Node whose processors are watched, by ssh; for each node once [default: this machine]' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l ssh-config -d 'Configuration for ssh, in place of your own' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l out -d 'Folder for memory.json, memory.csv and memory.svg' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l name -d 'What this measurement is called in tables [default: the server]' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l duration -d 'How long that is measured' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l at -d 'When the command is given' -r
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l during -d 'Hold all steps of memory, and measure over time while the command is given'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -l json -d 'Print the figures as JSON'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand memory" -s h -l help -d 'Print help'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand compare" -l plot -d 'Draw them under each other into this SVG file' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand compare" -l bars -d 'Draw a bar for each into this SVG file: how long it answered, was slow, was silent' -r -F
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand compare" -s h -l help -d 'Print help'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand help; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "rtt" -d 'Ping a domain, give a command that makes it move, and say what its users saw'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand help; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "memory" -d 'Response times and processor use of a guest that holds more and more memory, or that moves meanwhile'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand help; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "compare" -d 'Show several results of rtt in one table, beside the paper\'s figures'
complete -c xen-handoff-bench -n "__fish_xen_handoff_bench_using_subcommand help; and not __fish_seen_subcommand_from rtt memory compare help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
