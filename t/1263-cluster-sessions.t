#!/usr/bin/perl
# Sessions with a TTL under changes of the leader: a session that is not renewed ends when it would have anyhow, one that is lives on.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use IO::Socket::INET ();
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

# A session ends at twice its TTL at the latest: time without a leader does not count.
my $ttl = 3;
my $c = Cluster->new(servers => 3, config => { session_ttl_min => '1s' });

sub create
{
	my ($n) = @_;
	my ($status, undef, $body) = $n->http('PUT', '/v1/session/create', qq({"TTL":"${ttl}s","LockDelay":"0s","NodeChecks":[]}));

	die "$status $body" if $status != 200;
	return JSON::PP::decode_json($body)->{ID};
}

sub there { my ($n, $id) = @_; my ($st, undef, $b) = $n->http('GET', "/v1/session/info/$id?stale"); return $st == 200 && $b ne '[]' }

# Seconds from $from until the session is gone.
sub gone_after
{
	my ($n, $id, $from) = @_;

	# A stale read: this server may not have heard of it yet.
	$n->wait_for(sub { there($n, $id) }) or return -1;
	$n->wait_for(sub { !there($n, $id) }, 30) or return 999;
	return time - $from;
}

sub lost_by { my ($n) = @_; return scalar(() = $n->log_text =~ /cluster leadership lost/g) }

# ---- without a change, to compare with

my ($n) = $c->followers;
my $from = time;
my $id = create($n);
my $alone = gone_after($n, $id, $from);
cmp_ok $alone, '>', $ttl, 'a session lives for its TTL';
cmp_ok $alone, '<', 2 * $ttl + 1, 'and ends within twice of it';

# ---- handed over twice

$from = time;
$id = create($n);
for (1 .. 2) {
	sleep 1;
	my $l = $c->leader;
	is +($l->ctl(qw(operator raft transfer-leader)))[0], 0, 'the leadership is handed over';
}
my $t = gone_after($n, $id, $from);
cmp_ok abs($t - $alone), '<', 1.5, sprintf 'the session ends after %.1f s, as without (%.1f s)', $t, $alone;

# ---- renewed through followers, while leaders die

$id = create($n);
is +($n->http('PUT', "/v1/kv/held?acquire=$id", 'x'))[2], 'true', 'a lock';
my $until = time + 3 * $ttl;
my ($renewed, $lost, $killed) = (0, 0);
my $last = time;
while (time < $until) {
	my @up = $c->running;
	my ($st, undef, $body) = $up[rand @up]->http('PUT', "/v1/session/renew/$id");

	$renewed++ if $st == 200;
	$last = time if $st == 200;
	$lost++ if $st == 404;
	if (!$killed && time > $until - 2 * $ttl) {
		$killed = $c->leader;
		$killed->kill;
	}
	sleep 0.2;
}
is $lost, 0, 'a session that is renewed is not lost with its leader';
cmp_ok $renewed, '>', 10, 'renewals go on';
my ($up) = grep { $_ != $killed } $c->nodes;
is $up->get_json('/v1/kv/held')->[0]{Session}, $id, 'the lock is still held';
$killed->start;
$c->wait_all;
# The last renewal that was answered counts, whoever leads now.
$t = gone_after($up, $id, $last);
cmp_ok $t, '>', $ttl, 'from the last renewal on it lives for its TTL';
cmp_ok $t, '<', 2 * $ttl + 3, 'and not for long';

# ---- renewals on their way when those that sent them on die: the leader is none for long then, and has nobody to tell

my $l = $c->leader;
my @others = grep { $_ != $l } $c->nodes;
my $pid = $c->pid($l, 'raftd');
$id = create($l);
my @ask;
for my $n (map { ($_) x 8 } @others) {
	push @ask, IO::Socket::INET->new(PeerAddr => $n->{ip}, PeerPort => $n->{ports}{http}) // die "connect: $!";
}
print {$_} "PUT /v1/session/renew/$id HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" for @ask;
$_->flush for @ask;
my $times = lost_by($l);
sleep 0.02;
$c->crash(@others);
ok $l->wait_for(sub { lost_by($l) > $times }, 20), 'the leader is none without the others';
$_->start for @others;
$c->wait_all;
is $c->pid($l, 'raftd'), $pid, 'and lives on';

# ---- all servers at once: what was not written down is a few seconds at most

$from = time;
$id = create($n);
sleep 1;
$_->kill for $c->nodes;
my $down = time;
$_->start for $c->nodes;
$c->wait_all;
$down = time - $down;
ok there($c->node(1), $id), 'a restart of all servers does not end it';
$t = gone_after($c->node(1), $id, $from) - $down;
cmp_ok $t, '>', $ttl, sprintf 'it ends %.1f s later', $t;
cmp_ok $t, '<', 2 * $ttl + 6, 'which is not much later than without';
done_testing;
