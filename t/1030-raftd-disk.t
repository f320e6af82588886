#!/usr/bin/perl
# A full disk refuses writes and nothing else, and heals without a restart; a read-only one stops raftd with a sentence.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Frame;
use JSON::PP ();
use Test::More;

plan skip_all => 'mounting a small file system needs root' if $> != 0;
my $tmp = File::Temp->newdir("raftd-disk-$$-XXXXXX", TMPDIR => 1);
my $fs = "$tmp/fs";
mkdir $fs;
plan skip_all => 'cannot mount a tmpfs here' if system("mount -t tmpfs -o size=96m tmpfs $fs 2>/dev/null") != 0;
my $owner = $$;
my $d;
END { if ($fs && defined $owner && $$ == $owner) { local $?; undef $d; system "umount -l $fs 2>/dev/null" } }

mkdir "$fs/data";
my %slice = (node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1', server => JSON::PP::true,
	bootstrap_expect => 1, log_level => 'INFO', data_dir => "$fs/data");
$d = Frame::Daemon->new('raftd', \%slice);

sub put { my ($k, $v) = @_; ($d->ask('kv.apply', { Op => 'set', DirEnt => { Key => $k, Value => $v } }))[1] }
sub get { my ($k) = @_; ($d->ask('kv.get', { Key => $k }))[1] }

sub fill
{
	my ($leave_mib) = @_;
	my ($free) = `df -m --output=avail $fs` =~ /(\d+)\s*$/;
	my $n = $free - $leave_mib;

	system("dd if=/dev/zero of=$fs/filler bs=1M count=$n oflag=append conv=notrunc 2>/dev/null") if $n > 0;
	# What is left of the last mebibyte.
	system("cat /dev/zero >>$fs/filler 2>/dev/null") if $leave_mib == 0;
}

is(put('before', 'x'), JSON::PP::true, 'a write while there is room');

# ---- low
fill(10);
my $r = put('low', 'x');
for (1 .. 100) {
	last if ref $r eq 'HASH';
	$r = put('low', 'x');
	select undef, undef, undef, 0.02;
}
is($r->{Code}, 500, 'with little room left writes are refused');
like($r->{Text}, qr/disk is full/, 'and told why');
is(get('before')->[0]{Value}, 'x', 'reads go on');
like($d->log, qr/\[ERROR\].*disk is full: writes are refused, reads go on/, 'the log tells it once');
unlink "$fs/filler";
ok($d->wait_log(qr/disk has room again/), 'room is noticed');
is(put('after', 'x'), JSON::PP::true, 'and writes are accepted again, without a restart');

# ---- nothing left at all, from one moment to the next
fill(0);
my $id = $d->start('kv.apply', { Op => 'set', DirEnt => { Key => 'held', Value => 'y' } });
(undef, undef, $r) = $d->reply(10);
ok(ref $r eq 'HASH' && $r->{Text} =~ /disk is full/, 'a write that found no room is answered');
like($r->{Text}, qr/unknown|nothing was changed/, 'honestly');
is(get('after')->[0]{Value}, 'x', 'reads go on');
$r = put('more', 'x');
is($r->{Code}, 500, 'the next are refused');
select undef, undef, undef, 1.5;	# the image may be due
is(get('after')->[0]{Value}, 'x', 'and still go on');
unlink "$fs/filler";
for (1 .. 200) {
	$r = put('again', 'z');
	last if !ref $r || ref $r ne 'HASH';
	select undef, undef, undef, 0.05;
}
is($r, JSON::PP::true, 'with room writes are accepted again');
$d->stop('KILL');
$d->spawn;
$d->connect;
is(get($_)->[0]{Value}, 'x', "$_ is there after kill -9") for qw(before after);
is(get('again')->[0]{Value}, 'z', 'again is there');

# ---- read-only, under a running raftd and at start
is(system("mount -o remount,ro $fs 2>/dev/null") >> 8 == 0 ? 'ro' : 'busy', 'busy', 'a file system in use stays writable');
$d->stop;
is(system("mount -o remount,ro $fs"), 0, 'read-only now');
unlink "$d->{dir}/log";
$d->spawn;
is($d->wait >> 8, 78, 'on a read-only disk it does not start');
like($d->log, qr/\[ERROR\].*Read-only file system/, 'and says why');
is(scalar(my @e = $d->log =~ /ERROR/g), 1, 'in one sentence');
undef $d;
is(system("umount $fs"), 0, 'unmounted');

done_testing;
