#!/usr/bin/perl
# raftd's data: kill -9 under writes keeps what was acknowledged; one directory has one owner; loss and damage are noticed.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Copy ();
use File::Temp ();
use Frame;
use IO::Select;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $yes = JSON::PP::true;
my $tmp = File::Temp->newdir("raftd-crash-$$-XXXXXX", TMPDIR => 1);
my %slice = (node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => $yes,
	bootstrap_expect => 1, advertise_addr => '127.0.0.9', ports => { server => 8300 }, log_level => 'INFO',
	raft_trailing_logs => 100, data_dir => "$tmp/data");

mkdir "$tmp/data";
my $d = Frame::Daemon->new('raftd', \%slice);

# Write for a while, many at a time, and be killed in the middle. Returns what was acknowledged.
sub storm
{
	my ($round, $seconds) = @_;
	my (%open, %acked);
	my ($n, $end) = (0, time + $seconds);

	while (1) {
		while (keys %open < 32) {
			my $key = "r$round/" . $n++;
			$open{$d->start('kv.apply', { Op => 'set', DirEnt => { Key => $key, Value => "value of $key" } })} = $key;
		}
		my ($id, $meta, $ok) = $d->reply;
		$acked{delete $open{$id}} = $meta->{Index} if $ok && $meta;
		last if time > $end;
	}
	kill 'KILL', $d->{pid};
	# What the socket still holds was acknowledged too.
	while (my ($id, $meta, $ok) = $d->reply(1)) { $acked{delete $open{$id}} = $meta->{Index} if $ok && $meta }
	$d->wait;
	return \%acked;
}

my %all;
for my $round (1 .. 4) {
	my $acked = storm($round, 0.3 + rand 0.7);
	$all{$_} = $acked->{$_} for keys %$acked;
	$d->spawn;
	$d->connect;
	my ($meta, $list) = $d->ask('kv.list', { Key => '' });
	my %have = map { $_->{Key} => $_ } @$list;
	is(scalar(grep { !$have{$_} || $have{$_}{Value} ne "value of $_" || $have{$_}{ModifyIndex} != $all{$_} } keys %all), 0,
		"round $round: every acknowledged write is there (" . keys(%all) . ')');
}
my (undef, $info) = $d->ask('daemon.info');
cmp_ok($info->{store}{entries}, '<', 20, 'a restart writes nothing but its own entries');

# ---- large values
my $large = join '', map { chr 32 + $_ % 90 } 1 .. 512 * 1024;
for my $i (1 .. 12) {
	my ($meta, $ok) = $d->ask('kv.apply', { Op => 'set', DirEnt => { Key => "large/$i", Value => "$i $large" } });
	$ok or fail("large value $i");
}
$d->stop('KILL');
$d->spawn;
$d->connect;
my (undef, $list) = $d->ask('kv.list', { Key => 'large/' });
is(scalar(grep { $_->{Value} eq substr($_->{Key}, 6) . " $large" } @$list), 12, 'values of 512 KiB survive');

# ---- a retry across the crash
my $stamp = { Origin => 'p' x 16, Seq => 1, Floor => 1 };
my $cas = { Op => 'cas', DirEnt => { Key => 'once', Value => 'x', ModifyIndex => 0 } };
my (undef, $first) = $d->ask('kv.apply', $cas, $stamp);
$d->stop('KILL');
$d->spawn;
$d->connect;
my (undef, $second) = $d->ask('kv.apply', $cas, $stamp);
ok($first && $second, 'a write retried after kill -9 gets its first result');

# ---- one owner
my $other = Frame::Daemon->new('raftd', \%slice, ready => 0);
ok($other->wait_log(qr/in use by another running node/), 'a second raftd on the same directory is refused');
is($other->wait >> 8, 78, 'with the exit code for what must be changed first');
is(scalar(my @lines = $other->log =~ /ERR/g), 1, 'and one sentence');
(undef, $second) = $d->ask('kv.get', { Key => 'once' });
is($second->[0]{Value}, 'x', 'the first goes on');

# ---- SIGTERM writes everything behind and starts from there
is($d->stop, 0, 'SIGTERM');
$d->spawn;
$d->connect;
(undef, $info) = $d->ask('daemon.info');
cmp_ok($info->{raft}{applied_index} - $info->{store}{image_index}, '<', 10, 'after SIGTERM the image is complete');
$d->stop;

# ---- less than was promised
sub slurp { open my $f, '<:raw', $_[0] or die "$_[0]: $!"; local $/; <$f> }
sub spew { open my $f, '>:raw', $_[0] or die "$_[0]: $!"; print $f $_[1]; close $f }
sub refused
{
	my ($re, $what) = @_;

	unlink "$d->{dir}/log";
	$d->spawn;
	my $status = $d->wait;
	isnt($status, 0, "$what: does not start");
	like($d->log, $re, "$what: says why and what to do");
}

my $durable = slurp("$tmp/data/raftd/durable");
substr $durable, 10, 1, chr(ord(substr $durable, 10, 1) ^ 4);
my $keep = slurp("$tmp/data/raftd/durable");
spew("$tmp/data/raftd/durable", $durable);
refused(qr/durable is damaged.*rejoin as a new member/, 'a damaged durable file');
spew("$tmp/data/raftd/durable", $keep);
my %db = map { $_ => slurp($_) } glob "$tmp/data/raftd/*.db $tmp/data/raftd/log.*";
unlink keys %db;
refused(qr/had been promised.*rejoin as a new member/, 'a lost database');
unlink glob "$tmp/data/raftd/*.db $tmp/data/raftd/log.*";
spew($_, $db{$_}) for keys %db;
unlink "$d->{dir}/log";
$d->spawn;
$d->connect;
(undef, $second) = $d->ask('kv.get', { Key => 'once' });
is($second->[0]{Value}, 'x', 'put back it starts again');
$d->stop;

done_testing;
