#!/usr/bin/perl
# Coordinates through HTTP into the catalog and back, and lists in the order of distance.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my $ip = Node::_address();
my %ports = map { $_ => Node::_free_port($ip) } qw(http server);
my %common = (node_name => 'n1', datacenter => 'dc1', server => JSON::PP::true, log_level => 'INFO', advertise_addr => $ip, bind_addr => $ip,
	ports => \%ports, node_id => '11111111-2222-3333-4444-555555555555');
# A server that holds its state in memory, and httpd beside it.
my $raftd = Frame::Daemon->new('raftd', { %common, dev_mode => JSON::PP::true });
my $gossip = Frame::Gossip->new($raftd->{dir}, Frame::Gossip::server('n1', $ip, $ports{server}, tags => { id => $common{node_id} }));
my $n = Frame::Daemon->new('httpd', { %common, addresses => { http => [$ip] } }, tmp => $raftd->{tmp});
@$n{qw(ip ports)} = ($ip, \%ports);

sub ask { return Raw->new($n)->ask($_[0], $_[1], $_[3], $_[2]) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub names { my ($path, $field) = @_; return join ' ', map { $_->{$field // 'Node'} } @{$json->decode(ask('GET', $path)->{body})} }
sub wait_for
{
	my ($code) = @_;
	my $end = time + 30;

	until ($code->()) { return 0 if time > $end; select undef, undef, undef, 0.05 }
	return 1;
}
sub at
{
	my ($node, $x, %o) = @_;

	return $json->encode({ Node => $node, Segment => '', Coord => { Vec => [$x, (0) x 7], Error => 1.5, Adjustment => 0, Height => 0.00001, %o } });
}

ok wait_for(sub { text('GET', '/v1/status/leader') eq qq(200 "$ip:$ports{server}") }), 'a leader';
my $r = ask('GET', '/v1/coordinate/nodes');
is "$r->{status} $r->{body}", '200 []', 'no coordinates';
is $r->{headers}{'X-Consul-Index'}, 1, 'index 1';
is $r->{headers}{'X-Consul-Knownleader'}, 'true', 'with the headers of reads';
is $r->{headers}{'X-Consul-Query-Backend'}, 'blocking-query', 'all of them';
ok !exists $r->{headers}{'X-Consul-Effective-Consistency'}, 'and no more';

# ---- nodes a to f with a service each
for my $name ('a' .. 'f') {
	is text('PUT', '/v1/catalog/register', $json->encode({ Node => $name, Address => '10.0.0.1', NodeMeta => { k => $name eq 'e' ? 'no' : 'yes' },
		Service => { Service => 'web' }, Checks => [{ CheckID => 'alive', Status => 'passing' }, { CheckID => 'web', ServiceID => 'web', Status => 'passing' }] })),
		'200 true', "node $name";
}
my $coordinates = $json->decode(ask('GET', '/v1/coordinate/nodes')->{body});
my $waits = Raw->new($n);
$waits->send("GET /v1/coordinate/nodes?index=1&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");

# ---- updates
my %x = (a => 5, b => 4, d => 2, e => 2);
is text('PUT', '/v1/coordinate/update', at($_, $x{$_})), '200 ', "update of $_" for sort keys %x;
is text('PUT', '/v1/coordinate/update', at('nobody', 1)), '200 ', 'of a node that is not there';
is text('PUT', '/v1/coordinate/update?dc=dc1', at('a', 5)), '200 ', 'the same again, with our datacenter';
is text('PUT', '/v1/coordinate/update', '{"node":"a","Datacenter":"dc1","Coord":{"Vec":[5,0,0,0,0,0,0,0],"Error":1.5,"Height":0.00001}}'), '200 ', 'in the body';
is text('PUT', '/v1/coordinate/update', '{"Node":"a","Coord":{"Vec":[1,2]}}'), '500 incompatible coordinate', 'too few dimensions';
is text('PUT', '/v1/coordinate/update', '{"Node":"a"}'), '500 incompatible coordinate', 'none at all';
is text('PUT', '/v1/coordinate/update', '{"Node":"a","Coord":{"Vec":[1e999,0,0,0,0,0,0,0]}}'), '500 invalid coordinate', 'no number';
is text('PUT', '/v1/coordinate/update', at('a', 1, Height => -1)), '500 invalid coordinate', 'below the ground';
is text('PUT', '/v1/coordinate/update', at('', 1)), '500 Must provide node', 'without a node';
is text('PUT', '/v1/coordinate/update', '{"Node":"a","Coords":{}}'), '400 Request decode failed: json: unknown field "Coords"', 'an unknown field';
is text('PUT', '/v1/coordinate/update', '{"Node":"a","Coord":{"Vec":["x"]}}') =~ /^400 Request decode failed: json: cannot unmarshal string/ ? 1 : 0, 1, 'a word';
is text('PUT', '/v1/coordinate/update', ''), '400 Request decode failed: EOF', 'no body';
is text('PUT', '/v1/coordinate/update?dc=other', at('a', 1)), '500 No path to datacenter', 'another datacenter';
$r = ask('GET', '/v1/coordinate/update');
is "$r->{status} $r->{body} $r->{headers}{Allow}", '405 method GET not allowed OPTIONS,PUT', 'GET';

# ---- written together
$r = $waits->reply;
is $r->{status}, 200, 'who waits for coordinates is told';
is_deeply $json->decode($r->{body}), [map { $json->decode(at($_, $x{$_})) } sort keys %x], 'of all at once, but for the node that is not there';
my $index = $r->{headers}{'X-Consul-Index'};
cmp_ok $index, '>', 1, 'under a new index';
like $r->{body}, qr/^\[\{"Node":"a","Segment":"","Coord":\{"Vec":\[5,0,0,0,0,0,0,0\],"Error":1\.5,"Adjustment":0,"Height":0\.00001\}\},/, "in Consul's order of fields";
$r = ask('GET', '/v1/coordinate/node/B');
is "$r->{status} $r->{body}", '200 [{"Node":"b","Segment":"","Coord":{"Vec":[4,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}}]', 'of one node';
is $r->{headers}{'X-Consul-Index'}, $index, 'under the same index';
$r = ask('GET', '/v1/coordinate/node/none');
is "$r->{status} [$r->{body}] $r->{headers}{'X-Consul-Index'}", "404 [] $index", 'of an unknown one: 404, nothing, the index';
is ask('GET', '/v1/coordinate/node/')->{status}, 404, 'of no one';
is text('GET', '/v1/coordinate/nodes?segment=alpha'), '200 []', 'of a segment that is not there';
is names('/v1/coordinate/nodes?segment='), 'a b d e', 'of the one without a name';
is text('GET', '/v1/coordinate/nodes?dc=other'), '500 No path to datacenter', 'another datacenter';
is text('GET', '/v1/coordinate/nodes?index=x'), '400 Invalid index', 'a bad index';
is text('PUT', '/v1/coordinate/nodes'), '405 method PUT not allowed', 'PUT of the list';
my $t = time;
$r = ask('GET', "/v1/coordinate/node/none?index=$index&wait=300ms");
is "$r->{status} " . (time - $t >= 0.3 ? 'waited' : 'at once'), '404 waited', 'waiting for one that is not there';

# ---- in the order of distance: d and e are equally far from each other; nothing is known of c and f
is names('/v1/catalog/nodes?filter=Node+matches+`^.$`'), 'a b c d e f', 'catalog/nodes';
is names('/v1/catalog/nodes?filter=Node+matches+`^.$`&near=b'), 'b a d e c f', 'near b';
is names('/v1/catalog/nodes?filter=Node+matches+`^.$`&near=E'), 'e d b a c f', 'near e, whatever the case';
is names('/v1/catalog/nodes?filter=Node+matches+`^.$`&near=c'), 'a b c d e f', 'near one of which nothing is known';
is names('/v1/catalog/nodes?filter=Node+matches+`^.$`&near=nobody'), 'a b c d e f', 'near nobody';
is names('/v1/catalog/nodes?near=b&node-meta=k:yes'), 'b a d c f', 'with metadata';
is names('/v1/catalog/service/web?near=a'), 'a b d e c f', 'catalog/service';
is names('/v1/health/checks/web?near=a'), 'a b d e c f', 'health/checks';
is names('/v1/health/state/passing?near=a&filter=CheckID+==+alive'), 'a b d e c f', 'health/state';
is join(' ', map { $_->{Node}{Node} } @{$json->decode(ask('GET', '/v1/health/service/web?near=a&passing')->{body})}), 'a b d e c f', 'health/service';
is names('/v1/health/node/a?near=b', 'CheckID'), 'alive web', 'health/node takes no notice';
# This node is where n1 lies.
is ask('PUT', '/v1/catalog/register', $json->encode({ Node => 'n1', Address => $ip, SkipNodeUpdate => JSON::PP::true }))->{status}, 200, 'our own node';
is text('PUT', '/v1/coordinate/update', at('n1', 4.25)), '200 ', 'lies near b';
ok wait_for(sub { ask('GET', '/v1/coordinate/node/n1')->{status} == 200 }), 'which is written';
is names('/v1/catalog/service/web?near=_agent'), 'b a d e c f', 'near=_agent';

# ---- a node takes its coordinate along
my $deep = Raw->new($n);
$deep->send("GET /v1/coordinate/node/d?index=" . ask('GET', '/v1/coordinate/node/d')->{headers}{'X-Consul-Index'} . "&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
is text('PUT', '/v1/catalog/deregister', '{"Node":"d"}'), '200 true', 'a node goes';
is $deep->reply->{status}, 404, 'who waits for its coordinate is told';
is names('/v1/coordinate/nodes'), 'a b e n1', 'and it is gone';

# ---- more than a period can write
my $c = Raw->new($n);
for my $i (1 .. 700) {
	my $body = at("many$i", 1);

	$c->send("PUT /v1/coordinate/update HTTP/1.1\r\nHost: x\r\nContent-Length: " . length($body) . "\r\n\r\n$body");
	$c->reply->{status} == 200 or diag "update $i was refused";
}
ok $raftd->wait_log(qr/Discarded coordinate updates: number_discarded=\d+ reason="more than one period can write"/), 'the rest is dropped, and told';
is names('/v1/coordinate/nodes'), 'a b e n1', 'nodes that are not there are passed over';

is $n->stop, 0, 'httpd ends';
is $raftd->stop, 0, 'raftd ends';
unlike $n->log . $raftd->log, qr/Sanitizer|runtime error/, 'cleanly';
done_testing;
