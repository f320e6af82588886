#!/usr/bin/perl
# snapshot save, restore and inspect: what they ask, what they print, what they leave behind, how they exit.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Ctl;
use FakeAgent;
use JSON::PP ();
use File::Temp ();
use Test::More;

my $data = "$ENV{SRCDIR}/t/data/snapshots";
my $tmp = File::Temp->newdir("ctl-snapshot-$$-XXXXXX", TMPDIR => 1);
my $good = slurp("$data/a-kv.snap");
my $head = { 'Content-Type' => 'application/x-gzip', 'X-Consul-Index' => 42 };
my $a = FakeAgent->new(
	'GET /v1/snapshot' => sub { $_[0]{query} =~ /dc=bad/ ? [200, slurp("$data/e-bitflip.snap"), $head] :
	    $_[0]{query} =~ /dc=none/ ? [500, 'No path to datacenter'] :
	    $_[0]{query} =~ /dc=short/ ? { raw => "HTTP/1.1 200 OK\r\nX-Consul-Index: 42\r\nContent-Length: 5000\r\n\r\n" . substr $good, 0, 1000 } :
	    [200, $good, $head] },
	'PUT /v1/snapshot' => sub { length $_[0]{body} > 2000 ? [200, ''] : [500, 'failed to decompress snapshot: EOF'] },
);
my $o = { addr => $a->addr };

sub is_run
{
	my ($name, $args, $code, $out, $err) = @_;

	is_deeply([ctl($o, @$args)], [$code, $out, $err], $name);
}
sub files { opendir(my $d, $tmp) or die; return join ' ', sort grep { !/^\./ } readdir $d }

# ---- save
is_run('save', ['snapshot', 'save', "$tmp/a"], 0, "Saved and verified snapshot to index 42\n", '');
is slurp("$tmp/a"), $good, 'what the agent sent';
is +(stat "$tmp/a")[2] & 0777, 0600, 'its owner alone may read it';
is files(), 'a', 'nothing else is left';
is +($a->requests)[-1]{query}, '', 'asked of the leader';
is_run('save -stale', ['snapshot', 'save', '-stale', "$tmp/a"], 0, "Saved and verified snapshot to index 42\n", '');
is +($a->requests)[-1]{query}, 'stale=', 'asked of any server';
is_run('save without a file', [qw(snapshot save)], 1, '', "Missing FILE argument\n");
is_run('save to two', [qw(snapshot save a b)], 1, '', "Too many arguments (expected 1, got 2)\n");
is_run('no snapshot', ['snapshot', 'save', '-datacenter=none', "$tmp/b"], 1, '',
	"Error saving snapshot: Unexpected response code: 500 (No path to datacenter)\n");
my @got = ctl($o, 'snapshot', 'save', '-datacenter=bad', "$tmp/b");
is "$got[0] $got[1]", '1 ', 'a damaged one';
like $got[2], qr/^Error verifying snapshot file: .*invalid checksum\n\z/, 'is told';
@got = ctl($o, 'snapshot', 'save', '-datacenter=short', "$tmp/a");
is "$got[0] $got[1]", '1 ', 'one that is cut short';
like $got[2], qr/^Error writing unverified snapshot file: .*unexpected EOF\n\z/, 'is told';
is files(), 'a', 'and neither is left';
is slurp("$tmp/a"), $good, 'nor in the place of the one that was there';
is_run('no place', ['snapshot', 'save', "$tmp/none/a"], 1, '',
	"Error writing unverified snapshot file: open $tmp/none/a.unverified: no such file or directory\n");
mkdir "$tmp/dir";
@got = ctl($o, 'snapshot', 'save', "$tmp/dir");
like "$got[0] $got[2]", qr/^1 Error renaming snapshot file: rename \S+ \S+: is a directory\n\z/, 'a directory';
is files(), 'a dir', 'leaves nothing behind';
@got = ctl({ addr => '127.0.0.1:1' }, 'snapshot', 'save', "$tmp/b");
like "$got[0] $got[2]", qr/^1 Error saving snapshot: Get "http:\S+": dial tcp .*connection refused\n\z/, 'no agent';

# ---- restore
is_run('restore', ['snapshot', 'restore', "$tmp/a"], 0, "Restored snapshot\n", '');
my $r = ($a->requests)[-1];
is "$r->{method} $r->{path} $r->{query}", 'PUT /v1/snapshot ', 'asked of the leader';
is length $r->{body}, length $good, 'all of it';
is_run('restore without a file', [qw(snapshot restore)], 1, '', "Missing FILE argument\n");
is_run('restore two', [qw(snapshot restore a b)], 1, '', "Too many arguments (expected 1, got 2)\n");
is_run('restore nothing', ['snapshot', 'restore', "$tmp/none"], 1, '',
	"Error opening snapshot file: open $tmp/none: no such file or directory\n");
spew("$tmp/empty", '');
is_run('restore an empty file', ['snapshot', 'restore', "$tmp/empty"], 1, '',
	"Error restoring snapshot: Unexpected response code: 500 (failed to decompress snapshot: EOF)\n");
spew("$tmp/large", $good . 'x' x 5_000_000);
is_run('restore a large one', ['snapshot', 'restore', "$tmp/large"], 0, "Restored snapshot\n", '');
is length(($a->requests)[-1]{body}), 5_000_000 + length $good, 'all of it';
unlink "$tmp/large", "$tmp/empty";

# ---- inspect
is_run('inspect', ['snapshot', 'inspect', "$data/a-kv.snap"], 0, <<'END', '');
 ID           2-42-1795400860793
 Size         75733
 Index        42
 Term         2
 Version      1

 Type                 Count      Size
 ----                 ----       ----
 KVS                  21         70.9KB
 Register             3          1.9KB
 Session              2          366B
 Tombstone            4          294B
 Index                9          217B
 Autopilot            1          199B
 FederationState      1          139B
 ChunkingState        1          12B
 ----                 ----       ----
 Total                           74KB
END
@got = ctl({}, qw(snapshot inspect -kvdetails -kvdepth=1 -kvfilter=le), "$data/a-kv.snap");
like $got[1], qr/^ Total +74KB\n\n Key Name +Count +Size\n ---- +---- +----\n len +6 +69\.4KB\n ---- +---- +----\n Total +69\.4KB\n\z/m, '-kvdetails, -kvfilter';
@got = ctl({}, qw(snapshot inspect -kvdetails), "$data/a-kv.snap");
like $got[1], qr/^ len\/70000 +1 /m, 'two levels unless told';
like +(ctl({}, qw(snapshot inspect -kvdetails -kvdepth 99), "$data/a-kv.snap"))[1], qr/^ dir\/b\/c +1 /m, '-kvdepth';
@got = ctl({}, qw(snapshot inspect -format=json -kvdetails -kvfilter=flags), "$data/a-kv.snap");
my $json = JSON::PP->new->decode($got[1]);
is_deeply $json->{Meta}, { ID => '2-42-1795400860793', Size => 75733, Index => 42, Term => 2, Version => 1 }, '-format=json';
is_deeply $json->{Stats}[0], { Name => 'KVS', Sum => 72608, Count => 21 }, 'the largest first';
is_deeply [map { $_->{Name} } @{$json->{StatsKV}}], [qw(flags flags42)], 'keys';
is "$json->{TotalSize} $json->{TotalSizeKV}", '75733 157', 'totals';
like $got[1], qr/^\{\n   "Meta": \{\n      "ID": "2-42-1795400860793",\n      "Size": 75733,/, 'as Consul lays it out';
is +($json = JSON::PP->new->decode((ctl({}, qw(snapshot inspect -format=json), "$data/d-mesh.snap"))[1]))->{StatsKV}, undef, 'null without -kvdetails';
is scalar(grep { $_->{Name} eq 'ConfigEntry' } @{$json->{Stats}}), 1, 'kinds that are not implemented';
for my $name (qw(b-catalog c-acl d-mesh)) {
	$json = JSON::PP->new->decode((ctl({}, qw(snapshot inspect -format=json), "$data/$name.snap"))[1]);
	my $sum = 0;
	$sum += $_->{Sum} for @{$json->{Stats}};
	is_deeply [$json->{TotalSize}, $sum], [($json->{Meta}{Size}) x 2], "$name: every byte counts";
}
is_run('inspect without a file', [qw(snapshot inspect)], 1, '', "Missing FILE argument\n");
is_run('inspect two', [qw(snapshot inspect a b)], 1, '', "Too many arguments (expected 1, got 2)\n");
is_run('inspect nothing', ['snapshot', 'inspect', "$tmp/none"], 1, '', "Error opening snapshot file: open $tmp/none: no such file or directory\n");
is_run('another format', ['snapshot', 'inspect', '-format=xml', "$data/a-kv.snap"], 1, '', "Error outputting enhanced snapshot data: Unknown format: xml\n");
for my $name (qw(badsum bitflip bitflip-state truncated)) {
	@got = ctl({}, 'snapshot', 'inspect', "$data/e-$name.snap");
	is "$got[0] $got[1]", '1 ', "e-$name is refused";
	like $got[2], qr/^Error reading snapshot: \S/, 'with a reason';
}
@got = ctl({}, 'snapshot', 'inspect', "$data/e-shortstate.snap");
like "$got[0] $got[2]", qr/^1 Error extracting snapshot data: .*ends inside a record/, 'a record that is cut off';
done_testing;
