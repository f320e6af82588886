#!/usr/bin/perl
# What is as large as it may be: taken, or refused with a sentence, and never in the way of anything else.
use strict;
use warnings;
use File::Path ();
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Dns;
use Node;

my $n = Node->new(config => { log_level => 'info', limits => { txn_max_req_len => 3_000_000 } });
my %pids = $n->pids;

sub put { my ($path, $body) = @_; my @r = $n->http('PUT', $path, $body); return $r[0] == 200 ? 'taken' : "$r[0] $r[2]" }

# ---- names, texts and lists of a mebibyte

my $refused = qr/^413 Request (body\(\d+ bytes\) too large|is too large), max size: \d+ bytes/;
for my $size (500_000, 1_000_000, 1_048_000, 1_048_560, 1_100_000) {
	my $long = 'x' x ($size - 100);
	my $taken = 0;
	my $try = sub {
		my ($what, $got) = @_;
		like $got, qr/^taken$|$refused/, "$what of $size bytes: " . substr $got, 0, 60;
		$taken++ if $got eq 'taken';
	};
	$try->('a tag', put('/v1/agent/service/register', { Name => "tag$size", Tags => [$long] }));
	$try->('tags', put('/v1/agent/service/register', { Name => "tags$size", Tags => [map { "t$_" . 'x' x 90 } 1 .. $size / 100 - 20] }));
	$try->('notes', put('/v1/agent/check/register', { Name => "c$size", TTL => '1h', Status => 'passing', Notes => $long }));
	$try->('output', put("/v1/agent/check/update/c500000", { Status => 'passing', Output => $long }));
	$try->('a node', put('/v1/catalog/register', { Node => $long, Address => '1.1.1.1' }));
	$try->('a service of another node', put('/v1/catalog/register', { Node => 'ext', Address => '1.1.1.1', Service => { Service => $long } }));
	$try->('a session', put('/v1/session/create', { Name => $long }));
	cmp_ok $taken, '>=', 6, '... nearly all is taken' if $size <= 1_000_000;
	is $taken, 0, '... nothing is taken' if $size > 1_048_576;
}
is put('/v1/agent/service/register', { Name => 'small', Port => 1 }), 'taken', 'a small service';
ok $n->wait_for(sub { $n->dig('small.service.consul', '+short') eq "$n->{ip}\n" }), '... is synced beside the large ones';
is scalar @{$n->get_json("/v1/catalog/service/tag$_")}, 1, "... so is that of $_" for 500_000, 1_000_000;
is +($n->http('GET', $_))[0], 200, "$_ is answered" for qw(/v1/catalog/services /v1/catalog/nodes /v1/health/state/any /v1/agent/services
	/v1/agent/checks /v1/health/service/tags1000000 /v1/catalog/node/ext);
like Dns::ask($n, 'tags500000.service.consul', 'SRV')->{status}, qr/^NOERROR$/, 'and DNS';
is Dns::ask($n, 'x.tag500000.service.consul', 'SRV')->{status}, 'NXDOMAIN', 'a tag that it does not have';

# ---- values in transactions

sub txn { return put('/v1/txn', '[' . join(',', map { "{\"KV\":{\"Verb\":\"set\",\"Key\":\"$_->[0]\",\"Value\":\"" . 'eHh4' x $_->[1] . '"}}' } @_) . ']') }
is txn(['fits', 174762]), 'taken', 'a value of the largest size in a transaction';
like txn(['small', 1], ['over', 174763]), qr/^413 Value for key "over" is too large \(524289 > 524288 bytes\)$/, 'one byte more is refused';
is +($n->http('GET', '/v1/kv/small'))[0], 404, '... with the rest of it';
is txn(map { ["part$_", 11000] } 1 .. 60), 'taken', 'many values of two megabytes together';
like txn(map { ["part$_", 40000] } 1 .. 60), qr/^413 /, 'but not beyond the limit of a transaction';

# Decoding them all would take the time of a test.
sub fat { return scalar(() = ($n->http('GET', '/v1/health/checks/fat'))[2] =~ /"CheckID":"fat/g) }

# ---- a service whose checks do not fit into one write, and a catalog that knows nothing yet

is put('/v1/agent/service/register', { Name => 'fat' }), 'taken', 'a service';
is put('/v1/agent/check/register', { Name => "fat$_", TTL => '1h', Status => 'passing', ServiceID => 'fat', Notes => 'n' x 900_000 }), 'taken', "... with large check $_"
	for 1 .. 12;
ok $n->wait_for(sub { fat() == 12 }), '... in the catalog';
is_deeply { $n->pids }, \%pids, 'no daemon has ended';
$n->stop;
ok -d "$n->{data_dir}/raftd", 'the catalog is lost';
File::Path::remove_tree("$n->{data_dir}/raftd");
$n->start;
ok $n->wait_for(sub { fat() == 12 && @{$n->get_json('/v1/catalog/service/small')} }),
	'a new catalog gets all of it, piece by piece';
is scalar @{$n->get_json('/v1/catalog/service/tag1000000')}, 1, 'large services as well';
$n->stop;
is join("\n", grep { /Sanitizer|runtime error|work still open|\[ERROR\]/ } split /\n/, Node::_slurp($n->{log}) . $n->err_text), '', 'a clean end';
done_testing;
