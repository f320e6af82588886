#!/usr/bin/perl
# Scripts of checks: what they are given, what they may do, and how they end when they do not want to.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

my $n = Node->new(dev => 1, config => { enable_script_checks => JSON::PP::true, check_update_interval => '0s' },
	env => { CONSUL_HTTP_ADDR => 'from.the.agent', OF_THE_ADMIN => 'yes', CREDENTIALS_DIRECTORY => '/secret', JOURNAL_STREAM => '1:2',
		CONSULCTL_SECRET => 'x' });
my $dir = $n->{dir};
my $node = $n;

sub script
{
	my ($name, $text, %def) = @_;
	my $path = "$node->{dir}/$name";

	Node::write_file($path, $text =~ /^#!/ ? $text : "#!/bin/sh\n$text\n");
	chmod 0755, $path;
	my @r = $node->http('PUT', '/v1/agent/check/register', { Name => $name, Interval => '1s', Args => [$path], Status => 'passing', %def });
	is($r[0], 200, "$name is registered") or diag $r[2];
}
sub now { return $node->get_json('/v1/agent/checks')->{$_[0]}; }
sub gone { $node->http('PUT', "/v1/agent/check/deregister/$_[0]"); }
sub becomes
{
	my ($name, $status, $output, $why) = @_;
	my $c;

	$node->wait_for(sub { $c = now($name); $c->{Status} eq $status && $c->{Output} =~ $output });
	is($c->{Status}, $status, $why // "$name becomes $status");
	like($c->{Output}, $output, '... and says why');
}
sub pid_in
{
	my ($file) = @_;
	my $pid;

	$node->wait_for(sub { ($pid) = Node::_slurp("$node->{dir}/$file") =~ /^(\d+)\n/ });
	return $pid;
}
sub dies { my ($pid, $why) = @_; ok($node->wait_for(sub { !Node::alive($pid) }), $why); }
# Those whose command line or environment names this file.
sub running { my ($text) = @_; return grep { Node::alive(m{(\d+)}) && Node::_slurp("$_/cmdline") =~ /\Q$text\E/ } glob '/proc/[0-9]*'; }

# ---- what a script is given

script('environment', 'env');
becomes('environment', 'passing', qr{^OF_THE_ADMIN=yes$}m, 'the agent\'s environment is the script\'s');
my $env = now('environment')->{Output};
like($env, qr{^CONSUL_HTTP_ADDR=from\.the\.agent$}m, 'what clients read too');
like($env, qr{^PATH=.*bin}m, 'a path');
like($env, qr{^HOME=/}m, 'a home');
unlike($env, qr{^(?:NOTIFY_SOCKET|LISTEN_|WATCHDOG_|CREDENTIALS_DIRECTORY|JOURNAL_STREAM|CONSULCTL_(?!RUN=))}m,
	'but nothing that is between us and our supervisor');

script('state', 'set -- $(cat /proc/$$/stat); echo "pid=$1 group=$5 session=$6 tty=$7"; echo "core=$(ulimit -Sc) files=$(ulimit -Sn) umask=$(umask)"; ' .
	'echo "cwd=$(pwd -P)"; grep -E "^(NoNewPrivs|SigIgn|SigBlk)" /proc/self/status; ls /proc/self/fd');
becomes('state', 'passing', qr{^pid=(\d+) group=\1 session=\1 tty=0$}m, 'a session of its own, without a terminal');
my $state = now('state')->{Output};
like($state, qr{^core=0 files=@{[qx(sh -c 'ulimit -Sn') =~ /(\d+)/]} umask=@{[qx(sh -c umask) =~ /(\d+)/]}$}m, 'no core dumps; the agent\'s own limit of files, and umask');
like($state, qr{^NoNewPrivs:\s*1$}m, 'no new privileges');
like($state, qr{^SigBlk:\s*0+$}m, 'no signal is blocked');
like($state, qr{^0\n1\n2\n3\n\z}m, 'three descriptors, and that of the directory');
is((now('state'))->{Output} =~ m{^cwd=(.*)$}m && $1, readlink "/proc/$n->{pid}/cwd", 'where the agent was started');

# ---- output

script('bytes', q{printf 'a\377\000\001\033[31m\303\251\303'});
becomes('bytes', 'passing', qr{^a\x{fffd}\x{0}\x{1}\x{1b}\[31m\xc3\xa9\x{fffd}\z}, 'bytes that are no text are shown as such');
ok($n->wait_for(sub { (grep { $_->{CheckID} eq 'bytes' && $_->{Output} =~ /^a\x{fffd}\x{0}/ } @{$n->get_json("/v1/health/node/$n->{name}")}) }),
	'in the catalog too');

script('endless', 'exec cat /dev/zero', Timeout => '2s');
script('beside', "date +%s%N; echo run >>$dir/beside.runs");
my %pids = $n->pids;
sub cpu { my @f = split ' ', Node::_slurp("/proc/$pids{checkd}/stat") =~ s/^.*\) //r; return ($f[11] + $f[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()); }
my ($cpu, $began) = (cpu(), time);
becomes('endless', 'critical', qr{^Timed out \(2s\) running check\n\nCaptured 4096 of \d+ bytes\n\.\.\.\n\x{0}{4096}\z}, 'one that prints without end');
my ($bytes) = now('endless')->{Output} =~ /of (\d+) bytes/;
cmp_ok($bytes, '<', 2 ** 20 * 50 * (2 + time - $began), 'is read no faster than that');
cmp_ok(cpu() - $cpu, '<', 0.7 * (time - $began), 'and takes a part of a core');
ok($n->wait_for(sub { -s "$dir/beside.runs" >= 8 }), 'while others go on');
gone('endless');

# ---- scripts that do not end as they should

script('deaf', "trap '' TERM INT HUP; echo \$\$ >$dir/deaf.pid; while :; do sleep 1; done", Timeout => '300ms');
becomes('deaf', 'critical', qr{^Timed out \(300ms\) running check$}, 'one that hears no signal');
gone('deaf');
dies(pid_in('deaf.pid'), 'is killed');

script('mute', 'exec <&- >&- 2>&-; sleep 0.3; exit 1');
becomes('mute', 'warning', qr{^$}, 'one that has closed its descriptors is waited for');
script('mute-hangs', 'exec <&- >&- 2>&-; exec sleep 300', Timeout => '300ms');
becomes('mute-hangs', 'critical', qr{^Timed out}, 'and not for ever');

script('held', "sleep 300 & echo \$! >$dir/held.pid; echo said; exit 1", Timeout => '4s', Interval => '60s', Status => 'passing');
ok(1, 'its first run is somewhere in a minute') if gone('held');
script('held', "sleep 300 & echo \$! >$dir/held.pid; echo said; exit 1", Timeout => '4s');
becomes('held', 'warning', qr{^said\n$}, 'one that has left a child with its output ends by its own status');
my $held = pid_in('held.pid');
gone('held');
dies($held, 'the child does with the check');

script('escape', "setsid sh -c 'echo \$\$ >$dir/e1.pid; sleep 300; :' & " .		# with a parent
	"(setsid sh -c 'echo \$\$ >$dir/e2.pid; sleep 300; :' &); " .			# an orphan
	"env -i setsid sh -c 'echo \$\$ >$dir/e3.pid; sleep 300; :' & " .		# without the environment
	"echo \$\$ >$dir/e0.pid; sleep 300; :", Timeout => '1s', Interval => '1s');
becomes('escape', 'critical', qr{^Timed out \(1s\)}, 'one whose children leave its group');
gone('escape');
dies(pid_in("e$_.pid"), "none is left: $_") for 0 .. 3;
ok($n->wait_for(sub { !running("$dir/e") }), 'nor any of another run');

script('daemon', "[ -e $dir/d.pid ] || (setsid sh -c 'echo \$\$ >$dir/d.pid; exec sleep 300' </dev/null >/dev/null 2>&1 &); exit 0", Status => 'critical');
becomes('daemon', 'passing', qr{^$}, 'one that starts a daemon');
my $daemon = pid_in('d.pid');
gone('daemon');
sleep 0.5;
ok(Node::alive($daemon), 'which outlives the check');
kill 'KILL', $daemon;
ok($n->wait_for(sub { !-e "/proc/$daemon" }), 'and is reaped');

# ---- a daemon that was stopped for a while does not take what it has not read for missing

script('calm', "sleep 0.5; echo run >>$dir/calm.runs", Timeout => '2s', Status => 'critical');
becomes('calm', 'passing', qr{^$});
my $runs = -s "$dir/calm.runs";
my $log = length $n->log_text;
kill 'STOP', $pids{checkd};
sleep 4;
kill 'CONT', $pids{checkd};
ok($n->wait_for(sub { -s "$dir/calm.runs" >= $runs + 8 }), 'a stopped checkd goes on');
unlike(substr($n->log_text, $log), qr/Check timed out: check=calm/, 'and no run has timed out that had ended');

# ---- what cannot be run

Node::write_file("$dir/data", "no program\n");
$n->http('PUT', '/v1/agent/check/register', { Name => 'data', Interval => '1s', Args => ["$dir/data"], Status => 'passing' });
becomes('data', 'critical', qr{^fork/exec \Q$dir\E/data: permission denied$});

# ---- the end

script('last', "setsid sh -c 'echo \$\$ >$dir/last.pid; sleep 300; :' & sleep 300; :");
my $last = pid_in('last.pid');
$n->stop;
dies($last, 'nothing is left of a script when checkd ends');
unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');

# ---- as another user

SKIP: {
	skip 'root alone may choose a user', 9 if $> != 0;
	my @nobody = getpwnam 'nobody' or skip 'there is no nobody', 9;
	my $m = $node = Node->new(dev => 1, wrap => ['prlimit', '--nproc=80:80'], config => { enable_script_checks => JSON::PP::true, script_check_user => 'nobody' });

	chmod 0755, $m->{dir};
	script('who', 'echo "$(id -u) $(id -g) $(id -G) $HOME $USER"; grep ^Cap /proc/self/status');
	becomes('who', 'passing', qr{^$nobody[2] $nobody[3] [\d ]*$nobody[3] \Q$nobody[7]\E nobody$}m, 'scripts run as the user that was chosen');
	unlike(now('who')->{Output}, qr{^Cap(?:Prm|Eff|Amb):\s*0*[1-9a-f]}m, 'without a capability');
	# All it can: every process forks on and on, in a session of its own.
	script('bomb', "#!/usr/bin/perl\nuse POSIX ();\n\$SIG{TERM} = 'IGNORE';\nwhile (1) { my \$p = fork; POSIX::setsid() if defined \$p && !\$p; }\n",
		Timeout => '1s');
	becomes('bomb', 'critical', qr{^Timed out \(1s\)}, 'one that only forks');
	cmp_ok(scalar(running("$m->{dir}/bomb")), '<=', 80, 'is held to the user\'s limit');
	gone('bomb');
	ok($m->wait_for(sub { !running("$m->{dir}/bomb") }), 'and ends with all of its processes');
	$m->stop;
	unlike($m->log_text . $m->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer|cannot end what/, 'nothing for the sanitizers');
	$m = Node->new(dev => 1, wait => 'none', config => { script_check_user => 'no-such-user-here' });
	isnt($m->wait_exit, 0, 'a user that does not exist is refused');
	like($m->log_text . $m->err_text, qr/script_check_user "no-such-user-here": there is no such user/, 'by name');
}
done_testing;
