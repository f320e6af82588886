#!/usr/bin/perl
# A majority is lost for good: those that are left go on as a cluster of their own, and the old one is a stranger.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;
use Ctl;
use File::Path ();
use JSON::PP ();
use Test::More;

my $c = Cluster->new(servers => 3, config => { autopilot => { server_stabilization_time => '500ms' } });
my ($l) = $c->leader;
my ($f, $g) = $c->followers;
my %id = map { $_->{name} => $_->get_json('/v1/agent/self')->{Config}{NodeID} } $c->nodes;

sub entry { my ($n) = @_; return { id => $id{$n->{name}}, address => "$n->{ip}:$n->{ports}{server}", non_voter => JSON::PP::false } }
sub list { return JSON::PP::encode_json([map { entry($_) } @_]) }
sub recover { my ($n, @o) = @_; return ctl({}, qw(operator raft recover), "-data-dir=$n->{data_dir}", @o) }
sub servers { my ($n) = @_; return @{$n->get_json('/v1/operator/raft/configuration?stale')->{Servers}} }
sub cluster { my ($n) = @_; return ($n->ctl('info'))[1] =~ /cluster = (\w+)/ ? $1 : '' }
sub writes { my ($n) = @_; return $n->wait_for(sub { ($n->http('PUT', '/v1/kv/written', 'x'))[0] == 200 }) }
sub files { my ($n) = @_; opendir my $d, "$n->{data_dir}/raftd" or die; return { map { $_ => 1 } readdir $d } }

my $old = cluster($l);
is +($f->http('PUT', '/v1/kv/kept', 'yes'))[0], 200, 'a write before the disaster';
my $dir = "$f->{data_dir}/raftd";

like +(recover($f, '-dry-run', '-peers=/dev/null'))[2], qr/in use by another running node/, 'a server that runs is left alone';
$_->kill for $c->nodes;

# ---- what is refused changes nothing

for ([qr/cannot read .*No such file/, undef], [qr/peers\.json: /, '{'], [qr/must hold a list of servers/, '{}'], [qr/it has 0 servers/, '[]'],
    [qr/let that server join when this cluster has a leader/, '[{"id":"22222222-2222-3333-4444-555555555555","address":"1.2.3.4:8300"}]'],
    [qr/does not name this server itself/, list($g)], [qr/unknown field/, '[{"name":"x"}]']) {
	my ($why, $text) = @$_;

	Ctl::spew("$dir/peers.json", $text) if defined $text;
	my ($rc, $out, $err) = recover($f);
	is $rc, 1, 'refused';
	like $err, $why, 'with a sentence';
}
ok !files($f)->{recovered}, 'nothing was changed';

# ---- one server is left: dry run, then a start

Ctl::spew("$dir/peers.json", list($f));
my ($rc, $out, $err) = recover($f, '-dry-run');
is "$rc$err", '0', 'dry run';
like $out, qr/^Last entry of the log: index \d+, term \d+;/, 'says how far the log goes';
like $out, qr/^Configuration now \(index 1, cluster $old\):\n(?:  s\d  \S+  \S+  voter\n){3}Configuration after the recovery \(cluster \w+\):\n  $f->{name}  $id{$f->{name}}  \S+  voter\n/m,
    'what the configuration is and would be';
ok files($f)->{'peers.json'} && !files($f)->{recovered}, 'and changes nothing';
$f->start;
ok writes($f), 'a start with peers.json goes on alone';
is +($f->http('GET', '/v1/kv/kept?raw'))[2], 'yes', 'with the data';
is join(' ', map { $_->{Node} } servers($f)), $f->{name}, 'as its only server';
ok files($f)->{'peers.json.done'} && !files($f)->{'peers.json'}, 'the file is used up';
isnt cluster($f), $old, 'it is another cluster';

# ---- the old ones come back, a majority among themselves

$_->start for $l, $g;
ok writes($l), 'the old cluster has its majority again';
is cluster($l), $old, 'and is the old one';
is join(' ', map { $_->{Node} } servers($f)), $f->{name}, 'the recovered one keeps away from it';
$l->http('PUT', '/v1/kv/theirs', 'x');
is +($f->http('GET', '/v1/kv/theirs'))[0], 404, 'they share nothing';

# ---- restarts change nothing

for my $how ('kill', 'stop') {
	$f->$how;
	$f->start;
	ok writes($f), "after a $how";
	is join(' ', map { $_->{Node} } servers($f)), $f->{name}, 'the same';
}

# ---- wiped, they join the recovered cluster

for my $n ($l, $g) {
	$n->kill;
	File::Path::remove_tree("$n->{data_dir}/raftd");
	$n->start;
}
ok $f->wait_for(sub { 3 == grep { $_->{Voter} } servers($f) }, 40), 'wiped servers join it';
$c->wait_all;
is scalar(grep { cluster($_) eq cluster($f) } $c->nodes), 3, 'all are of one cluster';
is +($g->http('GET', '/v1/kv/kept?raw'))[2], 'yes', 'and have its data';

# ---- two of three are left: offline, the same list for both

is +($l->http('PUT', '/v1/kv/second', 'yes'))[0], 200, 'a write before the second disaster';
$c->wait_equal;
$_->kill for $c->nodes;
my $peers = "$f->{dir}/peers.json";
Ctl::spew($peers, list($f, $g));
for my $n ($f, $g) {
	($rc, $out, $err) = recover($n, "-peers=$peers");
	is $rc, 0, "$n->{name} is recovered: $err";
	like $out, qr/The new configuration is in force from the next start on\.\n$/, 'and says so';
}
ok -e $peers, 'a file of the administrator stays';
{
	local $f->{wait} = 'none';
	$f->start;
}
$g->start;
ok writes($_), "$_->{name} takes writes" for $f, $g;
is join(' ', sort map { $_->{Node} } servers($g)), join(' ', sort $f->{name}, $g->{name}), 'both are the cluster';
is +($g->http('GET', '/v1/kv/second?raw'))[2], 'yes', 'with the data';
is cluster($f), cluster($g), 'of one id';

# ---- a damaged file is not passed over

$f->kill;
my $recovered = Ctl::slurp("$dir/recovered");
substr($recovered, length($recovered) / 2, 1) ^= "\x04";
Ctl::spew("$dir/recovered", $recovered);
{
	local $f->{wait} = 'none';
	$f->start;
}
is $f->wait_exit, 1, 'a damaged recovery: the server does not start';
like $f->log_text, qr{raftd/recovered is damaged}, 'and says so';
done_testing;
