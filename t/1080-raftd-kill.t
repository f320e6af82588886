#!/usr/bin/perl
# raftd killed at random moments, again and again, under writes that are sent again with their stamps: nothing that was
# acknowledged is lost, nothing takes place twice, and no index goes back. RAFTD_KILL_SEED repeats a run's choices.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{RAFTD_KILL_SEED} // int(time * 1000) % 1_000_000;
diag "seed $seed";
srand $seed;
$SIG{PIPE} = sub { die "raftd closed the connection\n" };

my $yes = JSON::PP::true;
my $tmp = File::Temp->newdir("raftd-kill-$$-XXXXXX", TMPDIR => 1);
my $d = Frame::Daemon->new('raftd', { node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1',
	server => $yes, bootstrap_expect => 1, log_level => 'INFO', raft_trailing_logs => 20, data_dir => "$tmp" });
use constant { WRITERS => 24, SECONDS => 12, ROUNDS => 40 };

# ---- writers: each has a key of its own and one write under way, so it knows what must come of it

my $origin = pack 'N4', map { int rand 2 ** 32 } 1 .. 4;
my ($seq, %open, @writer) = (0);	# open: by number of the stamp
my %wrong;
my ($acked, $retried, $highest) = (0, 0, 0);

sub wrong { my ($what, $detail) = @_; diag "$what: $detail" if !$wrong{$what}++ }

# What the writer does next, in turn: an operation whose second application would answer, or leave, something else.
sub next_op
{
	my ($w) = @_;
	my $key = "w/$w->{n}";
	my $value = ++$w->{count} . ' ' . 'v' x int rand(rand() < 0.05 ? 60_000 : 200);
	my $step = $w->{step}++ % 6;

	$w->{value} = $value if $step != 3 && $step != 4;
	return ('kv.apply', { Op => 'cas', DirEnt => { Key => $key, Value => $value, ModifyIndex => $w->{index} } }) if $step < 2;
	return ('kv.apply', { Op => 'lock', DirEnt => { Key => $key, Value => $value, Session => $w->{session} } }) if $step == 2;
	if ($step == 3) {
		# Only one of two can find the key free.
		return ('kv.apply', { Op => 'unlock', DirEnt => { Key => $key, Value => $w->{value}, Session => $w->{session} } });
	}
	if ($step == 4) {
		$w->{value} = undef;
		return ('kv.apply', { Op => 'delete-cas', DirEnt => { Key => $key, ModifyIndex => $w->{index} } });
	}
	return ('txn.apply', { Ops => [
		{ KV => [{ Verb => 'check-not-exists', Key => $key }] }, { KV => [{ Verb => 'cas', Key => $key, Value => $value, Index => 0 }] } ] });
}

sub send_write
{
	my ($w) = @_;
	my ($floor) = sort { $a <=> $b } keys %open;

	$w->{id} = $d->start($w->{op}, $w->{request}, { Origin => $origin, Seq => $w->{seq}, Floor => $floor });
}

sub begin
{
	my ($w) = @_;

	($w->{op}, $w->{request}) = next_op($w);
	$w->{seq} = ++$seq;
	$open{$seq} = $w;
	send_write($w);
}

sub answered
{
	my ($id, $meta, $payload) = @_;
	if ($meta) {
		wrong('the log went back', "$meta->{Index} after $highest") if $meta->{Index} <= $highest;
		$highest = $meta->{Index};
	}
	my ($w) = grep { $_->{id} == $id } values %open or return;
	my $ok = $meta && ($w->{op} eq 'txn.apply' ? !$payload->{Errors} : $payload);

	delete $open{$w->{seq}};
	$acked++;
	wrong('a write that must succeed was refused', "$w->{op} $w->{step} " . JSON::PP->new->canonical->encode([$meta, $payload]))
		if !$ok;
}

# What the key must be now. Only here its index is learnt: the reply to a retry has the index of the retry.
sub look
{
	my ($w, $consistency) = @_;
	my ($meta, $list) = $d->ask('kv.get', { Key => "w/$w->{n}" }, { Consistency => $consistency });
	my $e = $list->[0];

	if (defined $w->{value}) {
		wrong('an acknowledged value is missing', "w/$w->{n}") if !$e;
		return if !$e;
		wrong('another value', "w/$w->{n}: $w->{count}, not " . substr $e->{Value}, 0, 10) if $e->{Value} ne $w->{value};
		wrong('an index went back', "w/$w->{n}") if $e->{ModifyIndex} < ($w->{index} // 0);
		wrong('an index beyond all', "w/$w->{n}") if $e->{ModifyIndex} > $highest;
		wrong('a lock taken more than once', "w/$w->{n}: $e->{LockIndex}") if $e->{LockIndex} > 1;
		$w->{index} = $e->{ModifyIndex};
	} else {
		wrong('a deleted key is back', "w/$w->{n}") if $e;
		$w->{index} = 0;
	}
}

# ---- sessions first

my (undef, $reg) = $d->ask('catalog.register', { Node => 'n9', Address => '127.0.0.1' });
for my $n (1 .. WRITERS) {
	my (undef, $session) = $d->ask('session.create', { Node => 'n9', NoNodeChecks => $yes, LockDelay => 0 });
	push @writer, { n => $n, step => 0, count => 0, index => 0, session => $session, value => undef };
}

# ---- rounds

# One write of each writer, all under way together. False when the time is over with some of them unanswered.
sub write_all
{
	my ($end) = @_;

	begin($_) for @writer;
	while (%open) {
		my $left = $end - time;
		return 0 if $left <= 0;
		my @r = $d->reply($left) or next;
		answered(@r);
	}
	return 1;
}

sub look_all { look($_, int rand 2) for @writer }

# Replies that were sent before the end were acknowledgements, too.
sub crash
{
	if (rand() < 0.1) {
		wrong('SIGTERM', $?) if $d->stop != 0;
	} else {
		$d->stop('KILL');
	}
	while (my @r = $d->reply(1)) { answered(@r) }
	$d->spawn;
	# Now and then it does not even get as far as serving.
	while (rand() < 0.3) {
		select undef, undef, undef, rand 0.15;
		$d->stop('KILL');
		$d->spawn;
	}
	$d->connect;
}

my ($round, $began) = (0, time);
while (!%wrong && $round++ < ROUNDS && time - $began < SECONDS) {
	my $end = time + rand 0.4;

	look_all() while write_all($end);
	crash();
	# What had no answer is sent again, in any order, and some of it twice; answers come to the last copy.
	$retried += keys %open;
	for my $w (sort { $a->{n} <=> $b->{n} } values %open) {
		send_write($w) if rand() < 0.2;
		send_write($w);
	}
	while (%open) {
		my @r = $d->reply(20) or last;
		answered(@r);
	}
	# Also the first reads after a start see all that was acknowledged.
	look_all();
}
is(scalar keys %open, 0, 'every write was answered in the end');
cmp_ok($round, '>', 4, "rounds: $round, writes acknowledged: $acked, sent again: $retried");
cmp_ok($retried, '>', 10, 'writes were under way when it was killed');
is_deeply(\%wrong, {}, 'each write took place once, and stayed');
my (undef, $list) = $d->ask('kv.list', { Key => 'w/' });
is(scalar @$list, scalar(grep { defined $_->{value} } @writer), 'and there is nothing else');
is($d->stop, 0, 'it ends in order');

done_testing;
