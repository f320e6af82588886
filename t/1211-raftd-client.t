#!/usr/bin/perl
# A client node's raftd: everything goes to some server, another one when that is lost, and is held while there is none.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "TEST_SEED=$seed";
srand $seed;

# One address each in a net of our own, the same port.
my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;
my @dir = map { File::Temp->newdir(TMPDIR => 1) } 0 .. 4;
my (@d, $n);

sub slice
{
	my ($i, %o) = @_;

	return { node_name => "n$i", datacenter => 'dc1', server => JSON::PP::true, bootstrap_expect => 3,
		node_id => sprintf('11111111-2222-3333-4444-%012d', $i), data_dir => "$dir[$i]", bind_addr => "$net.$i",
		advertise_addr => "$net.$i", ports => { server => $port }, log_level => 'INFO', performance => { raft_multiplier => 1,
		rpc_hold_timeout => 7000 }, retry_join => [ map { "$net.$_" } 1 .. 3 ], %o };
}
sub client { return slice($_[0], server => JSON::PP::false, bootstrap_expect => 0, @_[1 .. $#_]) }
my ($origin, $seq) = (pack('N4', map { int rand 2**32 } 1 .. 4), 0);
sub put
{
	my ($d, $key, $value, %o) = @_;

	$seq++;
	return $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => $key, Value => $value } },
		$o{plain} ? {} : { Origin => $origin, Seq => $seq, Floor => $seq });
}
sub leader
{
	for (1 .. 600) {
		my ($m, $r) = $d[4]->ask('status.leader', undef, { Consistency => 2 });
		return $1 if ($r // '') =~ /^\Q$net\E\.(\d):/ && $d[$1]{pid};
		sleep 0.05;
	}
	die 'no leader';
}

# ---- nobody to ask
my $lonely = Frame::Daemon->new('raftd', client(0, retry_join => []));
my ($m, $r) = put($lonely, 'a', 'x');
is($r->{Text}, 'No known Consul servers', 'no server is known');
is($lonely->stop, 0, 'it ends');
$d[4] = Frame::Daemon->new('raftd', client(4, performance => { rpc_hold_timeout => 1500 }));
my $from = time;
($m, $r) = put($d[4], 'a', 'x');
is($r->{Text}, 'No cluster leader', 'servers are known, and none answers');
cmp_ok(time - $from, '>', 1.4, 'held for a while');
cmp_ok(time - $from, '<', 6, 'not for ever');
$d[4]->stop;
$d[4] = Frame::Daemon->new('raftd', client(4));

# ---- what is asked before there is a cluster waits for it
$d[4]->start('kv.apply', { Op => 'set', DirEnt => { Key => 'early', Value => 'bird' } });
$d[$_] = Frame::Daemon->new('raftd', slice($_)) for 1 .. 3;
my ($id, $reply);
($id, $m, $r) = $d[4]->reply(30);
ok(defined $m && $r, 'a write that came before the servers') or diag explain $r;

# ---- all kinds
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' });
is($r->[0]{Value}, 'bird', 'a read');
ok($m->{KnownLeader}, 'a leader is known');
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' }, { Consistency => 1 });
is($r->[0]{Value}, 'bird', 'a consistent read');
($m, $r) = $d[4]->ask('session.create', { Node => 'none' });
like($r->{Text}, qr/node/i, 'an error of the leader comes back as it is');
($m, $r) = $d[4]->ask('raft.configuration');
is(scalar @{$r->{Servers}}, 3, 'what operators ask');
($m, $r) = $d[4]->ask('autopilot.health');
ok(defined $m, 'what only the leader answers');
($m, $r) = $d[4]->ask('status.peers');
is(scalar @$r, 3, 'the peers');

# ---- a watch outlives the server that it waits at
sub server_in_use { my ($last) = ($d[4]->log =~ /using server: address=\Q$net\E\.(\d):\d+(?!.*using server)/s); return $last }
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' });
my $watcher = Frame::Client->new("$d[4]{dir}/raftd.sock");
$watcher->start('kv.get', { Key => 'early' }, { MinIndex => $m->{Index} });
for my $round (1 .. 3) {
	my $used = server_in_use();
	my $before = () = $d[4]->log =~ /using server/g;
	my ($bad, $done, $end) = (0, 0, time + 3);

	$d[$used]->stop('KILL');
	while (time < $end) {
		($m, $r) = put($d[4], 'count', 'v' . ++$n);
		if (!defined $m) {
			$bad++;
			diag $r->{Text};
			next;
		}
		($m, $r) = $d[4]->ask('kv.get', { Key => 'count' });
		$bad++ if !defined $m || $r->[0]{Value} ne "v$n";
		$done++;
	}
	is($bad, 0, "round $round: the server in use is killed, and stamped writes and reads do not notice");
	cmp_ok($done, '>', 10, "they go on ($done)");
	my $after = () = $d[4]->log =~ /using server/g;
	cmp_ok($after, '>', $before, 'at another server');
	isnt(server_in_use(), $used, 'really');
	$d[$used]->spawn;
	$d[$used]->connect;
}
($m, $r) = put($d[4], 'early', 'worm');
($id, $m, $r) = $watcher->reply(10);
is($r->[0]{Value}, 'worm', 'the watch has moved with it');

# ---- without a leader
my $l = leader();
$_ != $l and $d[$_]->stop for 1 .. 3;
$from = time;
($m, $r) = put($d[4], 'nobody', 'x');
like($r->{Text}, qr/^No cluster leader|is no longer the cluster's leader|unknown$/, 'no majority: refused');
cmp_ok(time - $from, '>', 1, 'not at once');
cmp_ok(time - $from, '<', 25, 'but in the end');
($m, $r) = $d[4]->ask('kv.get', { Key => 'early' }, { Consistency => 2 });
is($r->[0]{Value}, 'worm', 'stale reads are answered');
for (1 .. 3) {
	next if $_ == $l;
	$d[$_]->spawn;
	$d[$_]->connect;
}
($m, $r) = put($d[4], 'again', 'x');
($m, $r) = put($d[4], 'again', 'x') if !defined $m;
ok(defined $m, 'a majority is back');
for (1 .. 4) {
	is($d[$_]->stop, 0, "n$_ ends in order");
	unlike($d[$_]->log, qr/AddressSanitizer|runtime error|[Aa]ssert/, 'nothing broke');
}

done_testing;
