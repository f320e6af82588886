#!/usr/bin/perl
# A snapshot that is small on its way and large when it arrives: what has no room changes nothing.
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
use File::Temp ();
use Node;

my $tmp = File::Temp->newdir("snapshot-disk-$$-XXXXXX", TMPDIR => 1);
mkdir "$tmp/fs";
plan skip_all => 'cannot mount a file system of our own here'
	if system("truncate -s 160M $tmp/img && mkfs.ext4 -q $tmp/img && mount -o loop $tmp/img $tmp/fs 2>/dev/null") != 0;
my ($n, $big);
END { my $rc = $?; undef $n; undef $big; system "umount -l $tmp/fs 2>/dev/null" if $tmp; $? = $rc }

# Zeros take no room in an archive.
$big = Node->new(dev => 1);
my ($code, $out, $err);
sub archive
{
	my ($values, $file) = @_;

	$big->http('DELETE', '/v1/kv/?recurse');
	$big->http('PUT', "/v1/kv/zeros/$_", "\0" x 500_000) for 1 .. $values;
	($code, $out, $err) = $big->ctl('snapshot', 'save', $file);
	is $code, 0, "an archive of $values values" or diag $err;
	cmp_ok -s $file, '<', 2e6, 'is small';
}
archive(400, "$tmp/huge.snap");
archive(100, "$tmp/large.snap");
archive(10, "$tmp/small.snap");

$n = Node->new(start => 0);
$n->{data_dir} = "$tmp/fs/data";
$n->write_config;
$n->start;
is +($n->http('PUT', '/v1/kv/mine', 'still here'))[0], 200, 'a server with 160 MB of disk';
sub is_old { my ($name) = @_;
	is +($n->http('GET', '/v1/kv/mine?raw'))[2], 'still here', "$name: the old state";
	is +($n->http('GET', '/v1/kv/zeros/1'))[0], 404, 'and nothing else';
	ok $n->wait_for(sub { ($n->http('PUT', '/v1/kv/write', 'x'))[0] == 200 }), 'which takes writes' }
sub files { my %p = $n->pids; return scalar grep { (readlink($_) // '') =~ m{\(deleted\)$} } glob "/proc/$p{raftd}/fd/*" }

($code, $out, $err) = $n->ctl('snapshot', 'restore', "$tmp/huge.snap");
is $code, 1, 'what it holds has no room at all';
like $err, qr/The server's disk has no room for what the snapshot holds/, 'says so';
is_old('refused');

($code, $out, $err) = $n->ctl('snapshot', 'restore', "$tmp/large.snap");
is $code, 1, 'it has room, but not a second time in the log';
like $err, qr/disk is full/, 'says so';
is_old('dropped half-way');
ok $n->wait_for(sub { files() == 0 }), 'nothing is left open';

is +($n->ctl('snapshot', 'restore', "$tmp/small.snap"))[0], 0, 'one that has room';
is length +($n->http('GET', '/v1/kv/zeros/10?raw'))[2], 500_000, 'is restored';
is +($n->http('GET', '/v1/kv/mine'))[0], 404, 'and what was there is gone';
my %pids = $n->pids;
kill 'KILL', $pids{raftd};
ok $n->wait_for(sub { ($n->http('GET', '/v1/kv/zeros/10'))[0] == 200 }), 'also after SIGKILL';
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error/, 'nothing was done wrong';
done_testing;
