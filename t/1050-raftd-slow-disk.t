#!/usr/bin/perl
# A disk that hangs holds up writes and nothing else: reads, status and watches are answered meanwhile.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use Frame;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'mounting a file system needs root' if $> != 0;
plan skip_all => 'mkfs.ext4 or fsfreeze is missing' if grep { system("command -v $_ >/dev/null") != 0 } qw(mkfs.ext4 fsfreeze);
my $tmp = File::Temp->newdir("raftd-slow-$$-XXXXXX", TMPDIR => 1);
my $fs = "$tmp/fs";
mkdir $fs;
plan skip_all => 'cannot mount a file system of our own here'
	if system("truncate -s 128M $tmp/img && mkfs.ext4 -q $tmp/img && mount -o loop $tmp/img $fs 2>/dev/null") != 0;
my $owner = $$;
my $d;
END {
	if (defined $owner && $$ == $owner) {
		local $?;
		system "fsfreeze -u $fs 2>/dev/null";
		undef $d;
		system "umount $fs 2>/dev/null";
	}
}

mkdir "$fs/data";
$d = Frame::Daemon->new('raftd', { node_name => 'n1', node_id => '4b1f7f0c-0001-4d0e-8000-000000000001', datacenter => 'dc1',
	server => JSON::PP::true, bootstrap_expect => 1, log_level => 'INFO', data_dir => "$fs/data" });
$d->ask('kv.apply', { Op => 'set', DirEnt => { Key => 'a', Value => 'x' } });
is(system("fsfreeze -f $fs"), 0, 'the disk hangs');
my @ids = map { $d->start('kv.apply', { Op => 'set', DirEnt => { Key => "w$_", Value => 'y' } }) } 1 .. 10;
my ($slowest, $wrong) = (0, 0);
my $reader = Frame::Client->new("$d->{dir}/raftd.sock");
my $end = time + 2;
while (time < $end) {
	my $began = time;

	for (0, 1) {
		my (undef, $list) = $reader->ask('kv.get', { Key => 'a' }, { Consistency => $_ });
		$wrong++ if $list->[0]{Value} ne 'x';
	}
	my (undef, $leader) = $reader->ask('status.leader');
	$wrong++ if $leader eq '';
	my $took = time - $began;
	$slowest = $took if $took > $slowest;
}
is($wrong, 0, 'default and consistent reads and the leader are answered');
cmp_ok($slowest, '<', 1, sprintf 'in no more than %.0f ms', $slowest * 1000);
my (undef, $list) = $reader->ask('kv.list', { Key => 'w' });
is_deeply($list, [], 'nothing is shown that is not on disk');
ok(!$d->reply(0.1), 'nothing is acknowledged that is not on disk');
is(system("fsfreeze -u $fs"), 0, 'the disk goes on');
is(scalar(grep { my (undef, $m) = $d->reply; $m } @ids), 10, 'and the writes are acknowledged');
(undef, $list) = $reader->ask('kv.list', { Key => 'w' });
is(scalar @$list, 10, 'and there');
is($d->stop, 0, 'it ends in order');
undef $d;
is(system("umount $fs"), 0, 'unmounted');

done_testing;
