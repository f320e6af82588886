#!/usr/bin/perl
# The leader's disk fills up, hangs, and is damaged: the cluster goes on, and says what happened.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
BEGIN {
	plan skip_all => 'mounting file systems needs root' if $> != 0;
	plan skip_all => 'no mount namespaces here' if system('unshare -m true 2>/dev/null') != 0;
	if (!$ENV{OWN_MOUNTS}) {
		$ENV{OWN_MOUNTS} = 1;
		exec 'unshare', '-m', '--propagation', 'private', $^X, $0 or die "unshare: $!";
	}
}
use Cluster;
use File::Temp ();
use History;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "seed=$seed";
srand $seed;
my $tmp = File::Temp->newdir("cluster-disk-$$-XXXXXX", TMPDIR => 1);
plan skip_all => 'mkfs.ext4 or fsfreeze is missing' if grep { system("command -v $_ >/dev/null") != 0 } qw(mkfs.ext4 fsfreeze);
for my $i (1 .. 3) {
	mkdir "$tmp/fs$i";
	plan skip_all => 'cannot mount a file system of our own here'
		if system("truncate -s 160M $tmp/img$i && mkfs.ext4 -q $tmp/img$i && mount -o loop $tmp/img$i $tmp/fs$i 2>/dev/null") != 0;
}
my $c = Cluster->new(servers => 3, start => 0);
END { my $rc = $?; undef $c; system "fsfreeze -u $tmp/fs$_ 2>/dev/null; umount -l $tmp/fs$_ 2>/dev/null" for grep { $tmp } 1 .. 3; $? = $rc }

for my $i (1 .. 3) {
	my $n = $c->node($i);
	$n->{data_dir} = "$tmp/fs$i/data";
	$n->write_config;
	$n->start;
}
$c->wait_all;

sub fs_of { my ($n) = @_; return $n->{data_dir} =~ s/\/data$//r }

sub writes
{
	my ($what, @who) = @_;
	my $n = 0;

	for my $i (1 .. 30) {
		my $node = $who[$i % @who];
		$node->wait_for(sub { ($node->http('PUT', "/v1/kv/progress/$i", $what))[0] == 200 }) and $n++;
	}
	is $n, 30, "$what: writes go through";
}

# ---- hangs
{
	my $h = History->start($c, clients => 4, keys => 3, timeout => 5, seed => int rand 2**31);
	my $l = $c->leader;
	my @rest = grep { $_ != $l } $c->nodes;
	writes('before the hang', $c->nodes);
	is system('fsfreeze', '-f', fs_of($l)), 0, "the leader's disk hangs";
	my $new = $c->next_leader($l, @rest);
	ok $new != $l, 'it steps down, another leads';
	writes('disk hangs', @rest);
	is +($l->http('GET', '/v1/kv/progress/1?stale'))[0], 200, 'its stale reads go on';
	is system('fsfreeze', '-u', fs_of($l)), 0, 'the disk is back';
	$c->wait_all;
	writes('disk back', $c->nodes);
	my $r = $h->stop;
	cmp_ok $r->{ok}, '>', 50, 'clients got on';
	is $h->check, '', 'linearizable';
}
$c->wait_equal;

# ---- is full
{
	my $h = History->start($c, clients => 4, keys => 3, timeout => 5, seed => int rand 2**31);
	my $l = $c->leader;
	my @rest = grep { $_ != $l } $c->nodes;
	system "dd if=/dev/zero of=" . fs_of($l) . "/fill bs=1M 2>/dev/null";
	# It is noticed when something is written.
	ok $l->wait_for(sub { $rest[0]->http('PUT', '/v1/kv/fill', 'x'); $l->log_text =~ /disk is full/ }), "the leader's disk is full, and it says so"
		or diag grep { !/DEBUG/ } map { "$_\n" } split /\n/, $l->log_text;
	ok $rest[0]->wait_for(sub { ($rest[0]->http('PUT', '/v1/kv/full', 'x'))[0] == 200 }, 60), 'the cluster takes writes';
	writes('disk full', @rest);
	unlink fs_of($l) . '/fill';
	ok $l->wait_log(qr/has room again/), 'room again';
	$c->wait_all;
	$c->wait_equal;
	writes('room again', $c->nodes);
	my $r = $h->stop;
	cmp_ok $r->{ok}, '>', 50, 'clients got on';
	is $h->check, '', 'linearizable';
}

# ---- is damaged: the daemon says which file and stops, the cluster goes on
{
	my ($f) = $c->followers;
	my @rest = grep { $_ != $f } $c->nodes;
	$f->stop;
	my ($log) = sort { -s $b <=> -s $a } glob "$f->{data_dir}/raftd/entries-*.db";
	ok $log, 'there is a log';
	open my $file, '+<', $log or die "$log: $!";
	binmode $file;
	for (my $at = 4096; $at < -s $log; $at += 4096) {
		seek $file, $at + 2000, 0;
		read $file, my $byte, 1;
		seek $file, $at + 2000, 0;
		print $file chr(ord($byte) ^ 0x10);
	}
	close $file;
	$f->start;
	ok $f->wait_log(qr/raftd: [^\n]*move the directory away and let the server rejoin/), 'the damage is told, and what to do'
		or diag grep { !/DEBUG/ } map { "$_\n" } split /\n/, $f->log_text;
	writes('one damaged', @rest);
}
done_testing;
