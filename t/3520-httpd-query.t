#!/usr/bin/perl
# Prepared queries through HTTP: made, changed, executed, explained, watched, gone.
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
my $raftd = Frame::Daemon->new('raftd', { %common, dev_mode => JSON::PP::true });
my $gossip = Frame::Gossip->new($raftd->{dir}, Frame::Gossip::server('n1', $ip, $ports{server}, tags => { id => $common{node_id} }));
my $n = Frame::Daemon->new('httpd', { %common, addresses => { http => [$ip] } }, tmp => $raftd->{tmp});
@$n{qw(ip ports)} = ($ip, \%ports);

sub ask { return Raw->new($n)->ask($_[0], $_[1], $_[3], $_[2]) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub create { my ($q) = @_; my $r = ask('POST', '/v1/query', $json->encode($q)); return $r->{status} == 200 ? $json->decode($r->{body})->{ID} : "$r->{status} $r->{body}" }
sub run { my ($path, %headers) = @_; return $json->decode(ask('GET', "/v1/query/$path", undef, \%headers)->{body}) }
sub ids { return join ' ', map { $_->{Service}{ID} } @{$_[0]{Nodes}} }
sub wait_for
{
	my ($code) = @_;
	my $end = time + 30;

	until ($code->()) { return 0 if time > $end; select undef, undef, undef, 0.05 }
	return 1;
}

ok wait_for(sub { text('GET', '/v1/status/leader') eq qq(200 "$ip:$ports{server}") }), 'a leader';
my $r = ask('GET', '/v1/query');
is "$r->{status} $r->{body}", '200 []', 'no queries';
is $r->{headers}{'X-Consul-Index'}, 1, 'index 1';
is $r->{headers}{'X-Consul-Effective-Consistency'}, 'leader', 'with the headers of reads';

# ---- instances: a and c pass, b warns, d is critical
my %status = (a => 'passing', b => 'warning', c => 'passing', d => 'critical');
for my $id (sort keys %status) {
	is text('PUT', '/v1/catalog/register', $json->encode({ Node => "node-$id", Address => "10.0.0." . ord $id, NodeMeta => { rack => $id },
		Service => { ID => $id, Service => 'web', Port => 80, Tags => [$id =~ /[ab]/ ? 'Ab' : 'cd', $id], Meta => { m => $id } },
		Checks => [{ CheckID => "check-$id", ServiceID => $id, Status => $status{$id} }] })), '200 true', "instance $id";
}

# ---- refused
my $none = '00000000-0000-0000-0000-000000000000';
is text('POST', '/v1/query', '{"Service":{"Service":"web"}}'), '500 Invalid prepared query: Must be bound to a session', 'nothing to find it by';
is text('POST', '/v1/query', '{"Name":"x"}'), '500 Invalid prepared query: Must provide a Service name to query', 'no service';
is text('POST', '/v1/query', '{"Name":"x","Service":{"Service":"web"},"Nope":1}'), '400 Request decode failed: json: unknown field "Nope"', 'an unknown field';
is text('POST', '/v1/query', '{'), '400 Request decode failed: unexpected end of data at offset 1', 'no JSON';
is text('POST', "/v1/query", qq({"ID":"$none","Name":"x"})), '500 ID must be empty when creating a new prepared query', 'an ID';
is text('POST', '/v1/query', '{"Name":"x","Service":{"Service":"web"},"DNS":{"TTL":"1x"}}'),
	'500 Invalid prepared query: Bad DNS TTL \'1x\': time: unknown unit "x" in duration "1x"', 'a TTL that is none';
is text('PUT', "/v1/query/$none", '{"Name":"x"}'), "500 Cannot modify non-existent prepared query: '$none'", 'PUT of an unknown one';
is text('DELETE', "/v1/query/$none"), "500 Cannot modify non-existent prepared query: '$none'", 'DELETE of an unknown one';
is text('GET', '/v1/query/short'), '500 failed prepared query lookup: index error: UUID must be 36 characters', 'GET by name';
is text('GET', "/v1/query/$none"), '404 Query not found', 'GET of an unknown one';
is text('GET', '/v1/query/unknown/execute'), '404 Query not found', 'execute of an unknown one';
is text('GET', '/v1/query/unknown/explain'), '404 Query not found', 'explain of an unknown one';
$r = ask('PUT', '/v1/query', '');
is "$r->{status} $r->{body} $r->{headers}{Allow}", '405 method PUT not allowed OPTIONS,GET,POST', 'PUT of no query';
$r = ask('PUT', '/v1/query/x/execute', '');
is "$r->{status} $r->{body} $r->{headers}{Allow}", '405 method PUT not allowed OPTIONS,GET', 'PUT of execute';
$r = ask('OPTIONS', "/v1/query/$none");
is "$r->{status} $r->{headers}{Allow}", '200 OPTIONS,GET,PUT,DELETE', 'OPTIONS of a query';
is text('GET', '/v1/query?dc=other'), '500 No path to datacenter', 'another datacenter';

# ---- made and shown
my $waits = Raw->new($n);
$waits->send("GET /v1/query?index=1&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
my $id = create({ Name => 'Web', Service => { Service => 'web' }, DNS => { TTL => '10s' } });
like $id, qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'an ID';
like $waits->reply->{body}, qr/"ID":"$id"/, 'who waits for queries is told';
is create({ Name => 'web', Service => { Service => 'x' } }), "500 raft apply failed: name 'web' aliases an existing query name", 'its name again';
is create({ Name => $id, Service => { Service => 'x' } }), "500 raft apply failed: name '$id' aliases an existing query ID", 'its ID as a name';
$r = ask('GET', "/v1/query/$id");
my $got = $json->decode($r->{body});
is $got->[0]{CreateIndex}, $got->[0]{ModifyIndex}, 'its indexes';
like $r->{body}, qr/^\[\{"ID":"$id","Name":"Web","Session":"","Token":"","Template":\{"Type":"","Regexp":"","RemoveEmptyTags":false\},"Service":\{"Service":"web","Failover":\{"NearestN":0,"Datacenters":null\},"OnlyPassing":false,"IgnoreCheckIDs":null,"Near":"","Tags":null,"NodeMeta":null,"ServiceMeta":null,"Connect":false\},"DNS":\{"TTL":"10s"\},"CreateIndex":\d+,"ModifyIndex":\d+\}\]$/, 'as Consul shows it';

# ---- executed
$r = ask('GET', "/v1/query/$id/execute");
is $r->{status}, 200, 'execute by ID';
is $r->{headers}{'X-Consul-Index'}, 1, 'it cannot be waited for';
$got = $json->decode($r->{body});
is join(',', sort { $a cmp $b } split ' ', ids($got)), 'a,b,c', 'what is critical is left out';
is_deeply [sort keys %$got], [sort qw(Service Nodes DNS Datacenter Failovers Index LastContact KnownLeader ConsistencyLevel NotModified Backend)], 'the fields';
is "$got->{Service} $got->{DNS}{TTL} $got->{Datacenter} $got->{Failovers} $got->{ConsistencyLevel}", 'web 10s dc1 0 leader', 'and what they tell';
is_deeply [sort keys %{$got->{Nodes}[0]}], [qw(Checks Node Service)], 'entries as of health';
is run("$id/execute?stale")->{ConsistencyLevel}, 'stale', 'stale';
my %first = map { (split ' ', ids(run('web/execute')))[0] => 1 } 1 .. 60;
is join('', sort keys %first), 'abc', 'each comes first now and then';
is scalar @{run('web/execute?limit=2')->{Nodes}}, 2, 'a limit';
is scalar @{run('web/execute?limit=-1')->{Nodes}}, 3, 'a negative one is none';
is text('GET', '/v1/query/web/execute?limit=x'), '500 Bad limit: strconv.Atoi: parsing "x": invalid syntax', 'a limit that is none';
is text('GET', '/v1/query/web/execute?limit=99999999999999999999'), '500 Bad limit: strconv.Atoi: parsing "99999999999999999999": value out of range', 'one too high';
is text('GET', '/v1/query/web/execute?connect=x'), q(500 Error parsing 'connect' value: strconv.ParseBool: parsing "x": invalid syntax), 'connect that is none';
is ids(run('web/execute?connect=true')), '', 'no proxies of a mesh';
is ids(run('web/execute?near=node-c&limit=1')), 'c', 'near a node: its own instance first';
is ids(run('web/execute?near=_ip&limit=1', 'X-Forwarded-For' => '10.0.0.98, 10.0.0.97')), 'b', 'near the first address of X-Forwarded-For';
is scalar @{run('web/execute?near=_ip', 'X-Forwarded-For' => 'junk')->{Nodes}}, 3, 'junk is no address';
$r = ask('GET', '/v1/query/web/execute?cached');
like $r->{headers}{'X-Cache'} // '', qr/^(?:HIT|MISS)$/, 'from the cache';

# ---- every filter
my %wanted = (OnlyPassing => [JSON::PP::true, 'a c'], IgnoreCheckIDs => [['check-d'], 'a b c d'], Tags => [['aB', '!b'], 'a'], NodeMeta => [{ rack => 'c' }, 'c'],
	ServiceMeta => [{ m => 'b' }, 'b'], Connect => [JSON::PP::true, ''], Near => ['node-b', 'a b c']);
for my $field (sort keys %wanted) {
	is text('PUT', "/v1/query/$id", $json->encode({ Name => 'web', Service => { Service => 'web', $field => $wanted{$field}[0] } })), '200 ', "query with $field";
	$got = ids(run('web/execute'));
	like $got, qr/^b/, 'the near one first' if $field eq 'Near';
	is join(' ', sort split ' ', $got), $wanted{$field}[1], "what $field finds";
}
is text('PUT', "/v1/query/$id", $json->encode({ Name => 'web', Service => { Service => 'none', Failover => { NearestN => 2, Datacenters => ['dc2', 'dc1'] } } })), '200 ', 'a failover';
$got = run('web/execute');
is ids($got) . "$got->{Failovers} $got->{Datacenter}", '0 dc1', 'finds nobody, and asked nobody';

# ---- templates
my $template = create({ Name => 'geo-', Template => { Type => 'name_prefix_match', Regexp => '^geo-(.*)-([^-]+)$' },
	Service => { Service => '${match(1)}', Tags => ['${match(2)}'], NodeMeta => { rack => '${match(2)}' }, OnlyPassing => JSON::PP::true } });
like $template, qr/^[0-9a-f-]{36}$/, 'a template';
is ids(run('geo-web-a/execute')), 'a', 'filled in';
is run('geo-web-a/explain')->{Query}{Service}{NodeMeta}{rack}, 'a', 'explained';
is run('geo-web-a/explain')->{Query}{Name}, 'geo-', 'under its own name';
is text('GET', "/v1/query/$template/execute"), '500 prepared query templates can only be resolved up by name, not by ID', 'by ID';
like create({ Name => '', Template => { Type => 'name_prefix_match' }, Service => { Service => '${name.full}' } }), qr/^[0-9a-f-]{36}$/, 'a catch-all';
is join(' ', sort split ' ', ids(run('WEB/execute'))), '', 'the exact name goes first';
is run('wherever/execute')->{Service}, 'wherever', 'the catch-all takes the rest';
like create({ Name => 't', Template => { Type => 'name_prefix_match' }, Service => { Service => '${nope}' } }),
	qr/^500 raft apply failed: failed compiling template: Bad evaluation for '\$\{nope\}' in Service\.Service: /, 'an unknown variable';
is create({ Template => { Type => 'name_prefix_match' }, Service => { Service => 'x' } }),
	'500 raft apply failed: a query template with an empty name already exists', 'a second catch-all';

# ---- bound to a session
my $session = $json->decode(ask('PUT', '/v1/session/create', '{"Node":"node-a","NodeChecks":[]}')->{body})->{ID};
my $bound = create({ Session => $session, Service => { Service => 'web' } });
is scalar @{run("$bound/execute")->{Nodes}}, 3, 'a query without a name';
is create({ Session => $none, Service => { Service => 'web' } }), qq(500 raft apply failed: invalid session "$none"), 'a session that is not there';
my $index = ask('GET', "/v1/query/$bound")->{headers}{'X-Consul-Index'};
$waits = Raw->new($n);
$waits->send("GET /v1/query/$bound?index=$index&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
is text('PUT', "/v1/session/destroy/$session"), '200 true', 'the session ends';
$r = $waits->reply;
is "$r->{status} $r->{body}", '404 Query not found', 'and its query with it';

is text('DELETE', "/v1/query/$id"), '200 ', 'DELETE';
is text('GET', "/v1/query/$id"), '404 Query not found', 'is gone';

is $n->stop, 0, 'httpd ends';
is $raftd->stop, 0, 'raftd ends';
unlike $n->log . $raftd->log, qr{Sanitizer|runtime error}, 'cleanly';
done_testing;
