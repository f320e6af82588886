#!/usr/bin/perl
# A server far behind gets a snapshot while the leader serves; a restored archive reaches everybody, wakes everybody, and survives.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{TEST_SEED} // int rand 2**31;
note "seed=$seed";
srand $seed;
my $c = Cluster->new(servers => 3, config => { raft_trailing_logs => 100 });

sub info { my ($n, $key) = @_; return ($n->ctl('info'))[1] =~ /\b\Q$key\E = (\S+)/ ? $1 : undef }

# Values of some size, so that the transfer takes several chunks.
sub fill
{
	my ($prefix, $n, @who) = @_;
	my $ok = 0;

	for my $i (1 .. $n) {
		my $node = $who[$i % @who];
		my @ops = map { { KV => { Verb => 'set', Key => "$prefix/$i-$_", Value => MIME::Base64::encode_base64('x' x 2000 . "$i-$_", '') } } } 1 .. 20;
		$ok++ if ($node->http('PUT', '/v1/txn', \@ops))[0] == 200;
	}
	is $ok, $n, "$prefix: $n transactions of 20";
}
require MIME::Base64;

my ($f) = $c->followers;
my @rest = grep { $_ != $f } $c->nodes;
my $behind = info($f, 'last_log_index');
$c->crash($f);
fill('while-away', 150, @rest);
# Its next entry must no longer be in the log.
ok $rest[0]->wait_for(sub { (info($c->leader, 'last_snapshot_index') // 0) > $behind }, 60), 'the log was cut behind a checkpoint'
	or diag 'last_snapshot_index=' . (info($c->leader, 'last_snapshot_index') // 'none');
$f->start;
$c->wait_equal;
is +($f->http('GET', '/v1/kv/while-away/150-20?stale&raw'))[2], 'x' x 2000 . '150-20', 'the server that was away has what it missed';
like $f->log_text, qr/snapshot/i, 'by a snapshot';
cmp_ok info($f, 'last_snapshot_index'), '>', 0, 'and its log begins behind it';
fill('after', 5, $c->nodes);
$c->wait_equal;

# It is whole on disk, too.
$c->crash($f);
$f->start;
$c->wait_equal;
is +($f->http('GET', '/v1/kv/while-away/1-1?stale&raw'))[2], 'x' x 2000 . '1-1', 'also after SIGKILL';

# ---- save and restore through a follower
my $file = "$f->{dir}/one.snap";
my ($rc, $out, $err) = $f->ctl('snapshot', 'save', $file);
is $rc, 0, "snapshot save: $err";
like $out, qr/^Saved and verified snapshot to index \d+$/, 'says so';
$rest[0]->http('DELETE', '/v1/kv/while-away?recurse');
$rest[0]->http('PUT', '/v1/kv/late', 'x');
my (undef, $hd) = $rest[1]->http('GET', '/v1/kv/while-away/1-1');
is $hd->{'x-consul-index'} > 0, 1, 'there is an index';
pipe my $rd, my $wr;
my $pid = fork // die;
if ($pid == 0) {
	my ($st, $h2) = $rest[1]->http('GET', "/v1/kv/while-away/1-1?index=$hd->{'x-consul-index'}&wait=120s");
	print $wr "$st $h2->{'x-consul-index'}";
	close $wr;
	POSIX::_exit(0);
}
close $wr;
my $before = (($rest[1]->http('GET', '/v1/kv/late'))[1])->{'x-consul-index'};
($rc, $out, $err) = $f->ctl('snapshot', 'restore', $file);
is $rc, 0, "snapshot restore: $err";
is $out, "Restored snapshot\n", 'says so';
{ local $/; like scalar(<$rd>), qr/^200 \d+$/, 'a query that waited for a deleted key comes back with it' }
waitpid $pid, 0;
for my $n ($c->nodes) {
	is +($n->http('GET', '/v1/kv/while-away/1-1?raw'))[2], 'x' x 2000 . '1-1', "$n->{name} has the old state";
	is +($n->http('GET', '/v1/kv/late'))[0], 404, "$n->{name} has nothing else";
}
$rest[0]->http('PUT', '/v1/kv/next', 'x');
cmp_ok $rest[0]->get_json('/v1/kv/next')->[0]{ModifyIndex}, '>', $before, 'indexes go on from where they were';
$c->wait_equal;
# All killed: the restored state is what comes back.
$c->crash($c->nodes);
$_->start for $c->nodes;
$c->wait_all;
for my $n ($c->nodes) {
	is +($n->http('GET', '/v1/kv/while-away/150-20?raw'))[2], 'x' x 2000 . '150-20', "$n->{name} after SIGKILL of all";
	is +($n->http('GET', '/v1/kv/late'))[0], 404, 'nothing of the state that was replaced';
}
# Refused whole.
open my $fh, '<', $file or die;
binmode $fh;
local $/;
my $bytes = <$fh>;
# In the checksum: in the middle a copy from elsewhere may unpack to the same.
substr($bytes, -7, 1) ^= "\x01";
my ($st, undef, $body) = $c->node(1)->http('PUT', '/v1/snapshot', $bytes);
is $st, 500, 'a damaged archive is refused';
is +($c->node(2)->http('GET', '/v1/kv/while-away/1-1?raw'))[2], 'x' x 2000 . '1-1', 'and changes nothing';
done_testing;
