#!/usr/bin/perl
# What servers make of gossip: whom they begin with, a leader that has failed, a server that has failed or left.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use IO::Socket::IP;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

my $net = '127.' . (64 + $$ % 64) . '.' . int rand 256;
my $probe = IO::Socket::IP->new(Listen => 1, LocalHost => "$net.1", LocalPort => 0) or die "listen: $!";
my $port = $probe->sockport + 0;
close $probe;
my @dir = map { File::Temp->newdir(TMPDIR => 1) } 0 .. 4;
my (@d, @g);

sub id { return sprintf '11111111-2222-3333-4444-%012d', $_[0] }
sub member { my ($i, %o) = @_; return Frame::Gossip::server("n$i", "$net.$i", $port, %o, tags => { id => id($i) }) }
sub start
{
	my ($i, @members) = @_;

	$d[$i] = Frame::Daemon->new('raftd', { node_name => "n$i", datacenter => 'dc1', server => JSON::PP::true, bootstrap_expect => 3,
		node_id => id($i), data_dir => "$dir[$i]", bind_addr => "$net.$i", advertise_addr => "$net.$i", ports => { server => $port },
		log_level => 'DEBUG', performance => { raft_multiplier => 20 }, autopilot => { server_stabilization_time => 200, last_contact_threshold => 2000 } });
	$g[$i] = Frame::Gossip->new($d[$i]{dir}, @members);
}
sub until_true
{
	my ($what, $seconds) = @_;

	for (1 .. 50 * ($seconds // 30)) {
		return 1 if $what->();
		sleep 0.02;
	}
	return 0;
}
sub leader_of { my ($i) = @_; my (undef, $r) = $d[$i]->ask('status.leader', undef, { Consistency => 2 }); return ($r // '') =~ /\.(\d+):\d+$/ ? $1 : 0 }
# The leader that all of these know.
sub leader
{
	my @who = @_;
	my $l;

	until_true(sub { my %seen = map { leader_of($_) => 1 } @who; ($l) = keys %seen; keys %seen == 1 && $l }, 60) or die join '', map { $d[$_]->log } @who;
	return $l;
}
sub tell { my ($name, %change) = @_; $g[$_]->change($name, %change) for grep { $g[$_] } 1 .. 4 }
sub servers { my ($i) = @_; my (undef, $r) = $d[$i]->ask('raft.configuration'); return { map { $_->{Node} => $_->{Voter} ? 'voter' : 'non-voter' } @{$r->{Servers} // []} } }
sub health { my ($i) = @_; my (undef, $r) = $d[$i]->ask('autopilot.health'); return { map { $_->{Name} => $_ } @{$r->{Servers} // []} } }

# ---- nobody knows anybody, until they are joined, one after the other
start($_, member($_)) for 1 .. 3;
$g[1]->set(member(1), Frame::Gossip::server('alien', "$net.9", $port, tags => { ft_consulctl => undef }));
ok $d[1]->wait_log(qr/waiting for other servers before a cluster begins: expected=3 present=1/), 'a server waits alone';
$g[$_]->set(member(1), member(2)) for 1, 2;
ok $d[1]->wait_log(qr/waiting .* present=2/), 'two know each other';
is leader_of(1), 0, 'which is not enough';
# The third one alone hears of the second: that has to do.
$g[3]->set(member(3), member(2));
my $l = leader(1 .. 3);
ok $l, 'the third one knows one of them, and they begin';
$g[$_]->set(map { member($_) } 1 .. 3) for 1 .. 3;
ok $d[$_]->wait_log(qr/the pool has changed: members=3 servers=3/), "n$_ knows all" for 1 .. 3;
ok until_true(sub { my $h = health($l); 3 == grep { $_->{SerfStatus} eq 'alive' && $_->{Healthy} } values %$h }), 'all are alive by gossip, and healthy';

# ---- the leader's node fails without a word: its connections stay, and gossip says it
my @rest = grep { $_ != $l } 1 .. 3;
kill 'STOP', $d[$l]{pid};
my $from = time;
$g[$_]->change("n$l", Status => 4) for @rest;
my $next;
ok until_true(sub { ($next) = grep { $_ && $_ != $l } map { leader_of($_) } @rest; $next }, 20), 'another leads';
my $took = time - $from;
# Of an election timeout of four seconds and more.
cmp_ok $took, '<', 3, sprintf 'before the election timeout (%.2f s)', $took;
like join('', map { $d[$_]->log } @rest), qr/the leader's node has failed: node=n$l/, 'because gossip said so';
is health($next)->{"n$l"}{SerfStatus}, 'failed', 'its status';
ok !health($next)->{"n$l"}{Healthy}, 'it is not healthy';
is servers($next)->{"n$l"}, 'voter', 'it is still a server';

# ---- dead by gossip's word and silence: taken out
ok until_true(sub { !servers($next)->{"n$l"} }, 40), 'after a while it is none any more';
cmp_ok time - $from, '>', 9, 'not at once';
kill 'CONT', $d[$l]{pid};
$g[$_]->change("n$l", Status => 1) for 1 .. 3;
ok until_true(sub { (servers($next)->{"n$l"} // '') eq 'voter' }, 60), 'it comes back, and gets its vote again' or diag $d[$next]->log;

# ---- failed by gossip's word alone
my ($other) = grep { $_ != $next } 1 .. 3;
$g[$_]->change("n$other", Status => 4) for 1 .. 3;
ok until_true(sub { health($next)->{"n$other"}{SerfStatus} eq 'failed' }), 'a server whose gossipd has died';
is servers($next)->{"n$other"}, 'voter', 'stays, as long as it answers';
$g[$_]->change("n$other", Status => 1) for 1 .. 3;
ok until_true(sub { health($next)->{"n$other"}{Healthy} }), 'and is healthy when gossip knows it again';

# ---- left
$g[$_]->change("n$other", Status => 3) for 1 .. 3;
ok until_true(sub { !servers($next)->{"n$other"} }), 'a server that has left is taken out at once';
ok $d[$next]->wait_log(qr/a server cannot join: node="n$other".*has left the pool/), 'and not let in again while it has left';
is scalar(keys %{servers($next)}), 2, 'two are left';
$g[$_]->change("n$other", Status => 1) for 1 .. 3;
ok until_true(sub { (servers($next)->{"n$other"} // '') eq 'voter' }, 60), 'until it is back' or diag explain(health($next)), $d[$other]->log, $d[$next]->log;

# ---- a new one, and one that is not asked
start(4, map { member($_) } 1 .. 4);
$g[$_]->set(map { member($_) } 1 .. 4) for 1 .. 3;
ok until_true(sub { (servers($next)->{n4} // '') eq 'voter' }, 60), 'a fourth server finds them by gossip';
for (1 .. 4) {
	is $d[$_]->stop, 0, "n$_ ends in order";
	unlike $d[$_]->log, qr/AddressSanitizer|runtime error|[Aa]ssert/, 'nothing broke';
}
done_testing;
