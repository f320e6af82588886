#!/usr/bin/perl
# Remote execution: jobs that events announce, with the pool and the KV store played by this script.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use File::Temp ();
use JSON::PP ();
use MIME::Base64 ();
use Test::More;
use Time::HiRes qw(time);

my $tmp = File::Temp->newdir("checkd-$$-XXXXXX", TMPDIR => 1);
my $slice = { node_name => 'n1', node_id => 'aaaaaaaa-0000-0000-0000-000000000001', datacenter => 'dc1', dev_mode => JSON::PP::true,
	advertise_addr => '10.0.0.1', log_level => 'DEBUG', disable_coordinates => JSON::PP::true, disable_remote_exec => JSON::PP::false };
delete $ENV{SHELL};
$ENV{TMPDIR} = "$tmp";

my (%kv, @order, %sessions, @events);
my $index = 1;
my $count = 0;
my $delay;		# true: what is written waits

sub store
{
	my ($q) = @_;
	my $e = $q->{DirEnt};

	return { error => 500, text => 'failed session lookup' } if !$sessions{$e->{Session}};
	$kv{$e->{Key}} = $e->{Value} // '';
	push @order, $e->{Key};
	return \JSON::PP::true;
}

my $f = FakeDaemons->new("$tmp",
	raftd => {
		'catalog.node_services' => sub { \{ Node => undef, Services => [] } }, 'health.node' => sub { \[] },
		'catalog.register' => sub { \JSON::PP::true },
		'kv.get' => sub { my ($o, $q) = @_; my $v = $kv{$q->{Key}}; \[defined $v ? { Key => $q->{Key}, Value => $v } : ()] },
		'kv.apply' => sub { my ($o, $q) = @_; return $delay ? undef : store($q) },
	},
	gossipd => {
		'gossip.size' => sub { \1 }, 'gossip.members' => sub { undef },
		'gossip.event_list' => sub { my ($o) = @_; return ($o->{MinIndex} // 0) == $index ? undef : [[@events], $index] },
	});

sub uuid { return sprintf '%08x-0000-4000-8000-%012x', $$, ++$count; }

sub announce
{
	my ($payload) = @_;

	push @events, { ID => uuid(), Name => '_rexec', Payload => $payload, Version => 1, LTime => $count };
	$index = 1000 + $count;
	$f->answer($_, [@events], $index) for $f->waiting('gossip.event_list');
}

# Leave a job and announce it; its keys' common part.
sub job
{
	my (%spec) = @_;
	my $s = uuid();

	$sessions{$s} = 1;
	@order = ();
	$kv{"_rexec/$s/job"} = JSON::PP->new->encode({ Command => '', Args => undef, Script => undef, Wait => 2000000000, %spec });
	announce(JSON::PP->new->encode({ Prefix => '_rexec', Session => $s }));
	return "_rexec/$s";
}

sub finished { my ($base) = @_; return $f->serve(sub { defined $kv{"$base/n1/exit"} }); }
sub output { my ($base) = @_; return join '', map { $kv{$_} } sort grep { m{^\Q$base\E/n1/out/} } keys %kv; }
sub pids { my ($sleep) = @_; return grep { /^\d+$/ && cmdline($_) eq "sleep $sleep" } map { m{(\d+)$} } glob '/proc/[0-9]*'; }
sub cmdline { my ($pid) = @_; open my $h, '<', "/proc/$pid/cmdline" or return ''; local $/; my $s = <$h> // ''; $s =~ tr/\0/ /; $s =~ s/ $//; return $s; }

# An event from before our time is none of ours.
my $old = uuid();
$sessions{$old} = 1;
$kv{"_rexec/$old/job"} = '{"Command":"true","Wait":2000000000}';
push @events, { ID => uuid(), Name => '_rexec', Payload => qq({"Prefix":"_rexec","Session":"$old"}), Version => 1, LTime => 1 };
$index = 1000;
my $d = Frame::Daemon->new('checkd', $slice, tmp => $tmp, ready => 0);
ok($f->serve(sub { $f->waiting('gossip.event_list') }), 'events are waited for');
my ($w) = $f->waiting('gossip.event_list');
is_deeply([@{$w->{q}}{qw(Name Internal)}], ['_rexec', JSON::PP::true], 'those of remote execution alone');

# A command.
my $base = job(Command => 'echo out; echo err >&2; exit 3');
ok(finished($base), 'a command is run');
is(output($base), "out\nerr\n", 'its output is told');
is($kv{"$base/n1/exit"}, '3', 'and its exit code');
is($order[0], "$base/n1/ack", 'first of all the job was acknowledged');
is($kv{"$base/n1/ack"}, '', 'with an empty key');
is_deeply([grep { m{/out/} } @order], ["$base/n1/out/00000"], 'little output is one piece');
is($order[-1], "$base/n1/exit", 'last comes the exit code');
ok(!$kv{"_rexec/$old/n1/ack"}, 'the event from before was let be');
my @writes = $f->requests('kv.apply');
is_deeply([$writes[0]{q}{Op}, length $writes[0]{o}{Origin}], ['lock', 16], 'writes take the session\'s lock, and are stamped');
my @reads = $f->requests('kv.get');
is($reads[0]{o}{Consistency}, 2, 'the job is read from any server');

# A program with arguments, and a script.
$base = job(Args => ['printf', '%s|', 'a b', '$HOME', '']);
ok(finished($base), 'a program with arguments is run');
is(output($base), 'a b|$HOME||', 'without a shell');
$base = job(Script => MIME::Base64::encode_base64("#!/bin/sh\necho \$0\nkill -TERM \$\$\n", ''));
ok(finished($base), 'a script is run');
my ($path) = output($base) =~ m{^(\Q$tmp\E/rexec-\w+)$}m;
ok(defined $path, 'from a file of its own') or diag output($base);
is($kv{"$base/n1/exit"}, '143', 'the signal that ended it is seen');
for (1 .. 600) {
	last if !-e $path;
	select undef, undef, undef, 0.05;
}
ok(!-e $path, 'the file is gone');

# Large output goes in pieces of 4 KiB, in order, and nothing is lost when writing is slow.
$base = job(Command => 'seq 1 100000');
$delay = 1;
for (1 .. 5) {
	ok($f->serve(sub { $f->waiting('kv.apply') }), 'a write waits');
	is(scalar($f->waiting('kv.apply')), 1, 'alone');
	my ($q) = $f->waiting('kv.apply');
	$f->answer($q, ${store($q->{q})});
}
$delay = 0;
my ($q) = $f->waiting('kv.apply');
$f->answer($q, ${store($q->{q})}) if $q;
ok(finished($base), 'large output is told');
is(output($base), join('', map { "$_\n" } 1 .. 100000), 'whole');
is_deeply([sort grep { length $kv{$_} != 4096 } grep { m{^\Q$base\E/n1/out/} } keys %kv], [(sort grep { m{^\Q$base\E/n1/out/} } keys %kv)[-1]], 'all pieces but the last have 4 KiB');

# Slow output is told soon; silence gives signs of life.
my $started = time;
$base = job(Command => 'echo first; sleep 1.5; echo last', Wait => 500000000);
ok($f->serve(sub { ($kv{"$base/n1/out/00000"} // '') eq "first\n" }), 'output is told while the program runs');
cmp_ok(time - $started, '<', 1.4, 'soon');
ok($f->serve(sub { defined $kv{"$base/n1/out/00001"} }), 'then comes a sign of life');
is($kv{"$base/n1/out/00001"}, '', 'that is empty');
ok(finished($base), 'the end');
is(output($base), "first\nlast\n", 'with all of it');

# What cannot be run.
$base = job(Args => ['/nonexistent/program']);
ok(finished($base), 'a program that is not there');
is($kv{"$base/n1/exit"}, '255', 'fails with 255');

# A session that goes away: the program is left alone, nothing more is told.
$base = job(Command => 'echo a; sleep 0.7; echo b; sleep 1.717');
ok($f->serve(sub { defined $kv{"$base/n1/out/00000"} }), 'a job begins');
my $gone = substr $base, length '_rexec/';
delete $sessions{$gone};
ok($f->serve(sub { $d->log =~ /failed to write for a remote exec job.*failed session lookup/ }), 'when its session goes that is told');
ok(scalar(pids('1.717')) || $f->serve(sub { pids('1.717') }, 5), 'the program goes on');
ok($f->serve(sub { !pids('1.717') && $d->log =~ /a remote exec job has ended: session=$gone/ }), 'to its own end');
ok(!defined $kv{"$base/n1/exit"}, 'and no exit code is written without the session');

# What is not for us, or is no job.
my $n = () = $d->log =~ /failed to get remote exec job/g;
announce(qq({"Prefix":"_rexec","Session":"${\uuid()}"}));
ok($f->serve(sub { $d->log =~ /failed to get remote exec job: session=\S+ error="there is no such job"/ }), 'a job that does not exist is told');
my @asked = ($f->requests('kv.get'))[-2, -1];
is_deeply([map { $_->{o}{Consistency} } @asked], [2, 1], 'after a second look at the leader');
my $s = uuid();
$kv{"_rexec/$s/job"} = '{"Command":"touch ' . $tmp . '/ran"}';
announce(qq({"Prefix":"_rexec","Session":"$s"}));
ok($f->serve(sub { () = $d->log =~ /failed to write for a remote exec job/g >= 2 }), 'a job without a session is refused');
for my $bad ('', 'x', '[]', '{"Prefix":"_rexec"}', '{"Prefix":"","Session":"' . uuid() . '"}', '{"Prefix":"_rexec","Session":"../../x"}', '{"Prefix":1,"Session":"' . uuid() . '"}') {
	my $was = () = $d->log =~ /failed to decode remote exec event/g;

	announce($bad);
	ok($f->serve(sub { (() = $d->log =~ /failed to decode remote exec event/g) > $was }), "refused: $bad");
}
for my $bad ('', 'null', '{}', '{"Command":7}', '{"Args":"x"}', '{"Args":[1]}', '{"Script":"***"}') {
	my $session = uuid();
	my $was = () = $d->log =~ /failed to get remote exec job/g;

	$sessions{$session} = 1;
	$kv{"_rexec/$session/job"} = $bad;
	announce(qq({"Prefix":"_rexec","Session":"$session"}));
	ok($f->serve(sub { (() = $d->log =~ /failed to get remote exec job/g) > $was }), "no job: $bad");
	ok(!defined $kv{"_rexec/$session/n1/ack"}, 'and not acknowledged');
}
ok(!-e "$tmp/ran", 'none of that ran');

# The same job announced twice, and a gossipd that begins anew.
$base = job(Command => "echo x >>$tmp/once");
ok(finished($base), 'a job');
my $again = substr $base, length '_rexec/';
$f->end('gossipd');
@events = ();
$f->play('gossipd', $f->{handlers}{gossipd});
ok($f->serve(sub { $f->waiting('gossip.event_list') }), 'a gossipd that begins anew is asked');
announce(qq({"Prefix":"_rexec","Session":"$again"}));
ok($f->serve(sub { $d->log =~ /was seen before/ }), 'a job is not run twice');
$base = job(Command => 'echo new');
ok(finished($base), 'but the next one is');
is(-s "$tmp/once", 2, 'the first ran once');

# The daemon ends with a job under way.
$base = job(Command => 'sleep 297');
ok($f->serve(sub { pids('297') }), 'a long job');
is($d->stop, 0, 'a clean end');
for (1 .. 100) { last if !pids('297'); select undef, undef, undef, 0.05; }
is(scalar(pids('297')), 0, 'the job is gone too');
unlike($d->log, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'nothing for the sanitizers');

# Off unless it is wanted.
delete $slice->{disable_remote_exec};
$d = Frame::Daemon->new('checkd', $slice);
my $g = FakeDaemons->new($d->{dir}, gossipd => { 'gossip.size' => sub { \1 }, 'gossip.members' => sub { undef } },
	raftd => { 'catalog.node_services' => sub { \{ Node => undef, Services => [] } }, 'health.node' => sub { \[] }, 'catalog.register' => sub { \JSON::PP::true } });
ok($g->serve(sub { $d->log =~ /Synced node info/ }), 'an agent as it is by default');
is(scalar($g->requests('gossip.event_list')), 0, 'does not ask for jobs');
is($d->stop, 0, 'a clean end');
done_testing;
