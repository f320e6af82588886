#!/usr/bin/perl
# What httpd asks of gossipd: events, the keyring, coordinates of datacenters, joining and leaving, this node's own coordinate.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use Frame;
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# httpd beside a gossipd that this script plays.
sub start
{
	my ($slice, %handlers) = @_;
	my $ip = Node::_address();
	my $port = Node::_free_port($ip);
	my $d = Frame::Daemon->new('httpd', { node_name => 'n1', node_id => '11111111-2222-3333-4444-555555555555', datacenter => 'dc1',
		server => $true, addresses => { http => [$ip] }, ports => { http => $port }, log_level => 'WARN', %$slice });

	$d->ask('daemon.info');
	@$d{qw(ip ports)} = ($ip, { http => $port });
	$d->{f} = FakeDaemons->new($d->{dir}, gossipd => \%handlers);
	return $d;
}

my $n;
sub begin
{
	my ($method, $target, $body, %h) = @_;
	my $c = Raw->new($n);

	$h{'Content-Length'} = length $body if defined $body;
	$c->send(join("\r\n", "$method $target HTTP/1.1", 'Host: x', map { "$_: $h{$_}" } sort keys %h) . "\r\n\r\n" . ($body // ''));
	return $c;
}
sub whole
{
	my ($c) = @_;

	$c->_more(time + 0.01);
	return $c->{in} =~ /^(.*?\r\n)\r\n(.*)$/s && length $2 >= ($1 =~ /^Content-Length: (\d+)/m ? $1 : 1e9);
}
sub finish
{
	my ($c) = @_;

	$n->{f}->serve(sub { whole($c) }) or return { status => 0, body => 'no answer', headers => {} };
	return $c->reply;
}
sub ask { return finish(begin(@_)) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub last_of { my ($op) = @_; return ($n->{f}->requests($op))[-1]{q} }

# ---- events
my ($events, $event_index) = ([], 1);
my $uuid = 'aaaaaaaa-0000-4000-8000-000000000001';
my %replies = (keyring => sub { return \[] });
$n = start({},
	'gossip.event_fire' => sub { my ($o, $q) = @_;
		return { error => 500, text => 'Invalid node filter: error parsing regexp: missing closing ): `(`' } if ($q->{NodeFilter} // '') eq '(';
		return \{ %$q, ID => $uuid, Version => 1, LTime => 7 } },
	'gossip.event_list' => sub { my ($o, $q) = @_;
		return undef if ($o->{MinIndex} // 0) == $event_index;
		return [$events, $event_index] },
	'gossip.coordinates' => sub { my ($o, $q) = @_; return $replies{coordinates}->($q) },
	'gossip.members' => sub { return \[{ Name => 'n1', Addr => '10.0.0.1', Port => 8301, Tags => { role => 'consul' }, Status => 1 }] },
	'gossip.keyring' => sub { my ($o, $q) = @_; return $replies{keyring}->($q) },
	'gossip.join' => sub { return \1 },
	'gossip.force_leave' => sub { my ($o, $q) = @_;
		return $q->{Node} eq 'zz' ? { error => 500, text => "agent: No node found with name 'zz'" } : \undef },
	'daemon.info' => sub { return \{ serf_lan => { members => '3', encrypted => 'false' }, serf_wan => { members => '1' } } });

my $r = ask('PUT', '/v1/event/fire/deploy?node=web.*&service=api&tag=v2', "\0\1payload");
is $r->{status}, 200, 'event/fire';
is $r->{body}, '{"ID":"' . $uuid . '","Name":"deploy","Payload":"AAFwYXlsb2Fk","NodeFilter":"web.*","ServiceFilter":"api","TagFilter":"v2","Version":1,"LTime":0}',
	'shows the event';
is $r->{headers}{'Content-Type'}, 'application/json', 'as JSON';
is_deeply last_of('gossip.event_fire'), { ID => '', Name => 'deploy', Payload => "\0\1payload", NodeFilter => 'web.*', ServiceFilter => 'api',
	TagFilter => 'v2', Version => 0, LTime => 0 }, 'asks gossipd';
is $json->decode(ask('PUT', '/v1/event/fire/bare')->{body})->{Payload}, undef, 'without a payload: null';
is text('PUT', '/v1/event/fire/a?dc=dc1'), text('PUT', '/v1/event/fire/a'), 'our own datacenter';
my $before = $n->{f}->requests('gossip.event_fire');
is text('PUT', '/v1/event/fire/a?dc=other'), '500 No path to datacenter', 'another datacenter';
is text('PUT', '/v1/event/fire/'), '400 Missing name', 'no name';
is text('PUT', '/v1/event/fire/a?tag=x'), '500 Cannot provide tag filter without service filter', 'a tag without a service';
is text('PUT', '/v1/event/fire/a', 'x' x 512), '500 user event exceeds configured limit of 512 bytes before encoding', 'too much';
is text('PUT', '/v1/event/fire/a', 'x' x 100_000), '500 user event exceeds configured limit of 512 bytes before encoding', 'far too much';
is scalar $n->{f}->requests('gossip.event_fire'), $before, 'none of these reached gossipd';
is text('PUT', '/v1/event/fire/a?node=('), '500 Invalid node filter: error parsing regexp: missing closing ): `(`', "gossipd's words";
$r = ask('GET', '/v1/event/fire/a');
is "$r->{status} $r->{body} $r->{headers}{Allow}", '405 method GET not allowed OPTIONS,PUT', 'GET of event/fire';
is text('PUT', '/v1/event/fire/a?ns=x'), '400 Bad request: Invalid query parameter: "ns" - Namespaces are a Consul Enterprise feature', 'a namespace';

# ---- their list
$r = ask('GET', '/v1/event/list');
is "$r->{status} $r->{body} $r->{headers}{'X-Consul-Index'}", '200 [] 1', 'event/list, empty: index 1';
ok !exists $r->{headers}{$_}, "no $_" for qw(X-Consul-Knownleader X-Consul-Lastcontact X-Consul-Query-Backend);
my $event = { ID => $uuid, Name => 'deploy', Payload => 'p', NodeFilter => '', ServiceFilter => '', TagFilter => '', Version => 1, LTime => 3 };
($events, $event_index) = ([$event], '18446744073709551000');
$r = ask('GET', '/v1/event/list?name=deploy');
is_deeply $json->decode($r->{body}), [$event], 'one event';
is $r->{headers}{'X-Consul-Index'}, '18446744073709551000', 'an index of 64 bits';
is last_of('gossip.event_list')->{Name}, 'deploy', 'asked for by name';
ok !last_of('gossip.event_list')->{Internal}, 'and not for internal ones';
$r = ask('GET', '/v1/event/list?index=1&wait=60s');
is $r->{headers}{'X-Consul-Index'}, '18446744073709551000', 'another index: answered at once';
my $c = begin('GET', '/v1/event/list?index=18446744073709551000&wait=60s');
ok $n->{f}->serve(sub { $n->{f}->waiting('gossip.event_list') == 1 }), 'the same index waits';
($events, $event_index) = ([{ %$event, Name => 'next' }], 42);
$n->{f}->answer($_, $events, $event_index) for $n->{f}->waiting('gossip.event_list');
$r = finish($c);
is "$r->{status} $r->{headers}{'X-Consul-Index'}", '200 42', 'until there is another one, which may be lower';
is $json->decode($r->{body})->[0]{Name}, 'next', 'and shows it';
my $t = time;
$r = ask('GET', '/v1/event/list?index=42&wait=500ms');
is "$r->{status} $r->{headers}{'X-Consul-Index'} " . (time - $t >= 0.5 ? 'waited' : 'did not wait'), '200 42 waited', 'a wait that nothing ends';
is text('GET', '/v1/event/list?index=x'), '400 Invalid index', 'a bad index';
is text('PUT', '/v1/event/list'), '405 method PUT not allowed', 'PUT of event/list';

# ---- coordinates of the WAN pool
sub coord { my ($x) = @_; return { Vec => [$x, 0, 0, 0, 0, 0, 0, 0.5], Error => 1.5, Adjustment => -0.25, Height => 0.00001 } }
$replies{coordinates} = sub { my ($q) = @_;
	return \[{ Node => 'n1', Segment => '', Coord => coord(0.125) }] if $q->{Own};
	return \[{ Node => 'n1.dc1', Segment => '', Coord => coord(1) }, { Node => 'b.x.dc2', Segment => '', Coord => coord(2) },
		{ Node => 'a.dc2', Segment => '', Coord => coord(3) }, { Node => 'a0.dc1', Segment => '', Coord => coord(4) }] };
is_deeply $json->decode(ask('GET', '/v1/coordinate/datacenters')->{body}), [
	{ Datacenter => 'dc1', AreaID => 'wan', Coordinates => [{ Node => 'a0', Segment => '', Coord => coord(4) }, { Node => 'n1', Segment => '', Coord => coord(1) }] },
	{ Datacenter => 'dc2', AreaID => 'wan', Coordinates => [{ Node => 'a', Segment => '', Coord => coord(3) }, { Node => 'b.x', Segment => '', Coord => coord(2) }] },
], 'coordinate/datacenters: by datacenter';
ok last_of('gossip.coordinates')->{WAN}, 'of the WAN pool';
like ask('GET', '/v1/coordinate/datacenters')->{body}, qr/^\[\{"Datacenter":"dc1","AreaID":"wan","Coordinates":\[\{"Node":"a0","Segment":"","Coord":\{"Vec":\[4,0,0,0,0,0,0,0\.5\],"Error":1\.5,"Adjustment":-0\.25,"Height":0\.00001\}\}/,
	"in Consul's order of fields";
{
	local $replies{coordinates} = sub { return \[] };
	is text('GET', '/v1/coordinate/datacenters'), '200 []', 'none';
	local $replies{coordinates} = sub { return { raw => "\x80\x91\x01" } };
	is text('GET', '/v1/coordinate/datacenters'), '500 malformed answer from another daemon', 'nonsense';
	# One that is in order, then none.
	local $replies{coordinates} = sub { return { raw => "\x80\x92\x81\xa4Node\xa5n.dc1\xc1" } };
	is text('GET', '/v1/coordinate/datacenters'), '500 malformed answer from another daemon', 'nonsense further on';
	local $replies{coordinates} = sub { return { error => 500, text => 'why not' } };
	is text('GET', '/v1/coordinate/datacenters'), '500 why not', 'an error';
}
is text('PUT', '/v1/coordinate/datacenters'), '405 method PUT not allowed', 'PUT of them';

# ---- self
my $self = $json->decode(ask('GET', '/v1/agent/self')->{body});
is_deeply $self->{Coord}, coord(0.125), 'agent/self: our own coordinate';
is $self->{Member}{Name}, 'n1', 'Member';
is $self->{Stats}{serf_lan}{members}, '3', 'Stats.serf_lan';
is $self->{Stats}{serf_wan}{members}, '1', 'Stats.serf_wan';
{
	local $replies{coordinates} = sub { return { error => 500, text => 'no' } };
	is $json->decode(ask('GET', '/v1/agent/self')->{body})->{Coord}{Error}, 1.5, 'one that measured nothing when gossipd tells none';
}

# ---- joining and leaving
is text('PUT', '/v1/agent/join/10.0.0.9:8301'), '200 ', 'join';
is_deeply last_of('gossip.join'), { Addrs => ['10.0.0.9:8301'] }, 'of the LAN pool';
is text('PUT', '/v1/agent/join/10.0.0.9?wan=1'), '200 ', 'join?wan';
is_deeply last_of('gossip.join'), { Addrs => ['10.0.0.9'], WAN => $true }, 'of the WAN pool';
my %leave = ('' => [0, 0], '?prune' => [1, 0], '?wan=1' => [0, 1], '?prune=true&wan' => [1, 1]);
for my $p (sort keys %leave) {
	is text('PUT', "/v1/agent/force-leave/gone$p"), '200 ', "force-leave$p";
	my $q = last_of('gossip.force_leave');
	is join(' ', $q->{Node}, map { $_ ? 1 : 0 } @$q{qw(Prune WAN)}), "gone @{$leave{$p}}", 'asks so';
}
is text('PUT', '/v1/agent/force-leave/zz'), "500 agent: No node found with name 'zz'", 'of an unknown one';

# ---- the keyring
my ($a, $b) = ('AAAAAAAAAAAAAAAAAAAAAA==', 'BBBBBBBBBBBBBBBBBBBBBA==');
my @pools = ({ WAN => $true, Datacenter => 'dc1', Segment => '', Keys => { $a => 1 }, PrimaryKeys => { $a => 1 }, NumNodes => 1, NumResp => 1, NumErr => 0, Error => '' },
	{ WAN => $false, Datacenter => 'dc1', Segment => '', Keys => { $a => 3, $b => 2 }, PrimaryKeys => { $a => 3 }, NumNodes => 3, NumResp => 3, NumErr => 0, Error => '' });
$replies{keyring} = sub { return \[@pools] };
is text('GET', '/v1/operator/keyring'), qq(200 [{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"$a":1},"PrimaryKeys":{"$a":1},"NumNodes":1},) .
	qq({"WAN":false,"Datacenter":"dc1","Segment":"","Keys":{"$a":3,"$b":2},"PrimaryKeys":{"$a":3},"NumNodes":3}]), 'operator/keyring: list';
sub asked { my $q = last_of('gossip.keyring'); return join ' ', $q->{Verb}, $q->{Key} // '', $q->{RelayFactor} // 0, $q->{LocalOnly} ? 'local' : 'all' }
is asked(), 'list  0 all', 'asks for all';
is ask('GET', '/v1/operator/keyring?local-only=true&relay-factor=5')->{status}, 200, 'local-only';
is asked(), 'list  5 local', 'asks for that';
for my $m (['POST', 'install'], ['PUT', 'use'], ['DELETE', 'remove']) {
	is text($m->[0], '/v1/operator/keyring?relay-factor=2', qq({"key":"$b"})), '200 ', $m->[1];
	is asked(), "$m->[1] $b 2 all", 'asks so';
}
$before = $n->{f}->requests('gossip.keyring');
my @bad = (['GET', '?relay-factor=6', undef, 'Invalid relay-factor: Relay factor must be in range: [0, 5]'],
	['GET', '?relay-factor=-1', undef, 'Invalid relay-factor: Relay factor must be in range: [0, 5]'],
	['PUT', '?relay-factor=x', '{"Key":"a"}', 'Error parsing relay factor: strconv.Atoi: parsing "x": invalid syntax'],
	['GET', '?relay-factor=99999999999999999999', undef, 'Error parsing relay factor: strconv.Atoi: parsing "99999999999999999999": value out of range'],
	['GET', '?local-only=maybe', undef, 'Error parsing local-only: strconv.ParseBool: parsing "maybe": invalid syntax'],
	['PUT', '?local-only=1', '{"Key":"a"}', 'Invalid use of local-only: argument local-only can only be used for list request'],
	['POST', '', '', 'Request decode failed: EOF'], ['DELETE', '', '{"Kex":"a"}', 'Request decode failed: json: unknown field "Kex"']);
is text($_->[0], "/v1/operator/keyring$_->[1]", $_->[2]), "400 Bad request: $_->[3]", "$_->[0] $_->[1]" for @bad;
is scalar $n->{f}->requests('gossip.keyring'), $before, 'none of these reached gossipd';
$pools[0]{Error} = $pools[1]{Error} = 'Keyring is empty (encryption not enabled)';
is text('GET', '/v1/operator/keyring'), "500 2 errors occurred:\n\t* WAN error: Keyring is empty (encryption not enabled)\n" .
	"\t* dc1 (LAN) error: Keyring is empty (encryption not enabled)\n\n", 'errors of both pools';
$pools[0]{Error} = '';
is text('DELETE', '/v1/operator/keyring', qq({"Key":"$a"})), "500 1 error occurred:\n\t* dc1 (LAN) error: Keyring is empty (encryption not enabled)\n\n", 'of one';
$pools[1] = { %{$pools[1]}, Error => '2/3 nodes reported failure', Messages => { n2 => 'no such key', n3 => 'nor here' } };
is text('PUT', '/v1/operator/keyring', qq({"Key":"$a"})),
	"500 3 errors occurred:\n\t* dc1 (LAN) error: 2/3 nodes reported failure\n\t* n2: no such key\n\t* n3: nor here\n\n", 'and of nodes';
$replies{keyring} = sub { return { error => 500, text => 'not now' } };
is text('GET', '/v1/operator/keyring'), '500 not now', 'an error of the whole';
$r = ask('OPTIONS', '/v1/operator/keyring');
is "$r->{status} $r->{headers}{Allow}", '200 OPTIONS,GET,PUT,POST,DELETE', 'what it takes';

# ---- gossipd is away
$n->{f}->end('gossipd');
$r = ask('GET', '/v1/coordinate/datacenters');
is "$r->{status} $r->{body}", '500 no answer from gossipd', 'without gossipd';
is $n->stop, 0, 'httpd ends';
unlike $n->log, qr/Sanitizer|runtime error/, 'cleanly';

# ---- disable_coordinates
$n = start({ disable_coordinates => $true }, 'gossip.members' => sub { return \[] }, 'daemon.info' => sub { return \{} },
	'gossip.coordinates' => sub { return \[{ Node => 'n1', Segment => '', Coord => coord(1) }] });
is text(@$_), '401 Coordinate support disabled', "disable_coordinates: $_->[1]" for ['GET', '/v1/coordinate/nodes'], ['GET', '/v1/coordinate/node/a'],
	['GET', '/v1/coordinate/datacenters'], ['PUT', '/v1/coordinate/update', '{}'];
$self = $json->decode(ask('GET', '/v1/agent/self')->{body});
ok exists $self->{Coord} && !defined $self->{Coord}, 'and none of our own';
done_testing;
