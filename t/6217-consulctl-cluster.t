#!/usr/bin/perl
# The commands about the cluster against a real one: three servers and a client, formed by join, gossip encrypted.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use File::Temp ();
use JSON::PP ();
use Node;
use Test::More;

my $key = (ctl({}, 'keygen'))[1];
chomp $key;
my %fast = (gossip_interval => '20ms', probe_interval => '200ms', probe_timeout => '100ms');
my %config = (encrypt => $key, gossip_lan => \%fast, gossip_wan => \%fast, disable_remote_exec => JSON::PP::false,
	performance => { raft_multiplier => 1, leave_drain_time => '700ms' });
my @s = map { Node->new(name => "s$_", wait => 'agent', config => { %config, bootstrap_expect => 3 }) } 1 .. 3;
my $c = Node->new(name => 'c1', wait => 'agent', config => { %config, server => JSON::PP::false, bootstrap_expect => 0 });
my @all = (@s, $c);

sub addr { my ($n) = @_; return "$n->{ip}:$n->{ports}{http}"; }
sub lan { my ($n) = @_; return "$n->{ip}:$n->{ports}{serf_lan}"; }
sub wan { my ($n) = @_; return "$n->{ip}:$n->{ports}{serf_wan}"; }
sub run_at { my ($n, @args) = @_; return ctl({ addr => addr($n) }, @args); }
sub out_at { my ($n, @args) = @_; return (run_at($n, @args))[1]; }
# "name status" of each line of `members`.
sub members { my ($n, @args) = @_; return [sort map { /^(\S+) +\S+ +(\w+) / && $1 ne 'Node' ? "$1 $2" : () } split /\n/, out_at($n, 'members', @args)]; }
sub is_members
{
	my ($name, $nodes, $want, @args) = @_;

	for my $n (@$nodes) {
		wait_until(sub { "@{members($n, @args)}" eq "@$want" });
		is_deeply(members($n, @args), $want, "$name, at $n->{name}");
	}
}

like($c->log_text, qr/^ +Encrypt: Gossip: true, /m, 'the banner tells that gossip is encrypted');
unlike($_->log_text, qr/\Q$key\E/, "the key is not in the log of $_->{name}") for @all;

# ---- join

is_members('alone', [$c], ['c1 alive']);
is_deeply([run_at($s[0], 'join', lan($s[1]), lan($s[2]))], [0, "Successfully joined cluster by contacting 2 nodes.\n", ''], 'join of two');
is_deeply([run_at($c, 'join', lan($s[2]))], [0, "Successfully joined cluster by contacting 1 nodes.\n", ''], 'a client joins through any');
my @got = run_at($c, 'join', '127.0.0.1:1');
is($got[0], 1, 'join of nobody');
like($got[2], qr/^Error joining address '127\.0\.0\.1:1': Unexpected response code: 500 \(.*refused.*\)\nFailed to join any nodes\.\n\z/s, 'says why');
is_members('all are there', \@all, ['c1 alive', map { "s$_ alive" } 1 .. 3]);
ok(wait_until(sub { (run_at($c, qw(kv put a b)))[0] == 0 }), 'the client writes through a server');
is(out_at($_, qw(kv get a)), "b\n", "read at $_->{name}") for @all;
my $table = out_at($s[1], 'members');
like($table, qr/^s1 +\Q@{[lan($s[0])]}\E +alive +server +1\.10\.12 +2 +dc1 +<all>$/m, 'a server');
like($table, qr/^c1 +\Q@{[lan($c)]}\E +alive +client +1\.10\.12 +2 +dc1 +<default>$/m, 'a client');
like(out_at($s[0], qw(members -detailed -status=^alive$)), qr/^c1 .*\brole=node\b/m, 'their tags');
is((run_at($s[0], qw(members -status=left)))[0], 2, 'nobody has left');

# ---- the pool of servers

is_members('servers know each other', [$s[0]], [map { "s$_.dc1 alive" } 1 .. 3], '-wan');
is((run_at($c, 'join', '-wan', wan($s[0])))[0], 1, 'a client is in no such pool');

# ---- the keys

my $other = (ctl({}, 'keygen'))[1];
chomp $other;
sub keys_at { my ($n, @args) = @_; my ($code, $out, $err) = run_at($n, 'keyring', @args); return $code == 0 ? $out : "$code $err"; }
my $one = "==> Gathering installed encryption keys...\n\nWAN:\n  $key [3/3]\n\ndc1 (LAN):\n  $key [4/4]\n";
ok(wait_until(sub { keys_at($s[0], '-list') eq $one }), 'all have the key') or diag keys_at($s[0], '-list');
is(keys_at($s[1], "-install=$other"), "==> Installing new gossip encryption key...\n", 'another one');
like(keys_at($s[0], '-list'), qr/^dc1 \(LAN\):\n(?=.*^  \Q$key\E \[4\/4\]$)(?=.*^  \Q$other\E \[4\/4\]$)/ms, 'both are there');
is(keys_at($s[0], "-use=$other"), "==> Changing primary gossip encryption key...\n", 'is used');
is(keys_at($s[2], '-list-primary'), "==> Gathering installed primary encryption keys...\n\nWAN:\n  $other [3/3]\n\ndc1 (LAN):\n  $other [4/4]\n", 'by all');
@got = run_at($s[0], 'keyring', "-remove=$other");
is($got[0], 1, 'the one in use is not removed');
like($got[2], qr/^error: Unexpected response code: 500 \(/, 'which is told');
is(keys_at($s[0], "-remove=$key"), "==> Removing gossip encryption key...\n", 'the old one is');
($one = $one) =~ s/\Q$key\E/$other/g;
is(keys_at($s[0], '-list'), $one, 'from all');
is((run_at($s[0], qw(keyring -install=short)))[0], 1, 'what is no key is refused');
unlike($_->log_text, qr/\Q$key\E|\Q$other\E/, "no key is in the log of $_->{name}") for @all;
unlike(($s[0]->http('GET', '/v1/agent/self'))[2], qr/\Q$key\E|\Q$other\E/, 'nor what an agent says of itself');
is_members('all are still there', \@all, ['c1 alive', map { "s$_ alive" } 1 .. 3]);

# ---- events

my $dir = File::Temp->newdir;
my $watch = ctl_start({ addr => addr($s[2]) }, qw(watch -type=event -name=deploy), "cat >>$dir/events");
ok(wait_until(sub { slurp("$dir/events") =~ /^\[\]$/m }), 'a watch of events begins');
like(out_at($c, qw(event -name=deploy), 'v2'), qr/^Event ID: [0-9a-f-]{36}\n\z/, 'an event is fired at the client');
ok(wait_until(sub { slurp("$dir/events") =~ /"Name": ?"deploy","Payload": ?"djI="/ }), 'and the watch at a server sees it') or diag slurp("$dir/events");
run_at($s[0], qw(event -name=other x));
run_at($s[0], qw(event -name=deploy -node=^c), 'v3');
run_at($s[0], qw(event -name=deploy -node=^s), 'v4');
ok(wait_until(sub { slurp("$dir/events") =~ /"djQ="/ }), 'those that are for it') or diag slurp("$dir/events");
unlike(slurp("$dir/events"), qr/"djM="|"other"/, 'and no others');
$watch->signal('INT');
is(($watch->finish)[0], 0, 'the watch ends');

# ---- remote execution

sub exec_at { my ($n, @args) = @_; my ($code, $out, $err) = run_at($n, 'exec', '-wait=4s', @args); return ($code, join("\n", sort split /\n/, $out), $err); }
is_deeply([exec_at($s[0], 'echo "on $(basename $PWD/x)"')], [0, join("\n", sort +(map { ("    $_: on x", "    $_:", "==> $_: finished with exit code 0") } qw(c1 s1 s2 s3)),
	'4 / 4 node(s) completed / acknowledged'), ''], 'a command on all');
is_deeply([exec_at($c, '-node=^s2$', 'exit 3')], [2, "1 / 1 node(s) completed / acknowledged\n==> s2: finished with exit code 3", ''], 'one that fails');
is_deeply([exec_at($c, '-node=c', '-shell=false', 'printf', '%s|', 'a b', 'c')],
    [0, "    c1: a b|c|\n1 / 1 node(s) completed / acknowledged\n==> c1: finished with exit code 0", ''], 'words');
is(out_at($s[0], qw(kv get -keys -separator= _rexec)), '', 'nothing is left of it');
is($s[0]->get_json('/v1/session/list')->@*, 0, 'no session either');
is_deeply([exec_at($s[0], '-wait=300ms', '-node=nobody', 'true')], [0, '0 / 0 node(s) completed / acknowledged', ''], 'on nobody');

# ---- where they lie

$Ctl::TIMEOUT *= 3;
ok(wait_until(sub { (run_at($s[0], qw(rtt s1 c1)))[0] == 0 }), 'after a while they know how far it is');
$Ctl::TIMEOUT /= 3;
like(out_at($s[0], qw(rtt s1 c1)), qr/^Estimated s1 <-> c1 rtt: \d+\.\d{3} ms \(using LAN coordinates\)\n\z/, 'rtt');
like(out_at($c, qw(rtt s1)), qr/^Estimated s1 <-> c1 rtt: /, 'rtt to the own node');
like(out_at($s[0], qw(rtt -wan s1.dc1 s2.dc1)), qr/^Estimated s1\.dc1 <-> s2\.dc1 rtt: \d+\.\d{3} ms \(using WAN coordinates\)\n\z/, 'rtt -wan');
is((run_at($s[0], qw(rtt s1 nobody)))[0], 1, 'rtt to nobody');

# ---- leaving

$c->signal('TERM');
is($c->wait_exit, 0, 'SIGTERM to a client: exit 0');
unlike($c->log_text, qr/Waiting to drain/, 'which does not wait');
is_members('it has left', \@s, ['c1 left', map { "s$_ alive" } 1 .. 3]);
ok(wait_until(sub { out_at($s[0], qw(catalog nodes)) !~ /^c1 /m }), 'and is not in the catalog any more');
$c->kill if $c->running;
is_deeply([run_at($s[2], 'leave')], [0, "Graceful leave complete\n", ''], 'a server leaves');
is($s[2]->wait_exit, 0, 'and ends: exit 0');
like($s[2]->log_text, qr/Waiting to drain requests: ms=700.*Graceful exit completed/s, 'after it has gone on for a while');
is_members('it has left', [@s[0, 1]], ['c1 left', 's1 alive', 's2 alive', 's3 left']);
my $peers;
ok(wait_until(sub { $peers = out_at($s[0], qw(operator raft list-peers)); $peers =~ /^s1 /m && $peers !~ /^s3 /m }), 'and is no peer any more') or diag $peers;
is((run_at($s[0], qw(kv put a c)))[0], 0, 'the others go on');
$s[1]->kill;
is_members('one is killed', [$s[0]], ['c1 left', 's1 alive', 's2 failed', 's3 left']);
is_deeply([run_at($s[0], qw(force-leave s2))], [0, '', ''], 'it is told to leave');
is_members('it has left', [$s[0]], ['c1 left', 's1 alive', 's2 left', 's3 left']);
is_deeply([run_at($s[0], qw(force-leave -prune s2))], [0, '', ''], 'and to be forgotten');
is_members('it is forgotten', [$s[0]], ['c1 left', 's1 alive', 's3 left']);

done_testing;
