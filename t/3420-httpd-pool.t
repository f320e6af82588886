#!/usr/bin/perl
# Events, the keyring and coordinates of whole nodes: three servers' gossipds behind one HTTP API.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($key, $other) = map { encode_base64($_ x 32, '') } 'a', 'b';
# A server that begins a cluster, one that waits to be let in, and a client node.
my @n = map { Node->new(name => "node$_", client => $_ > 1, config => { encrypt => $key, $_ == 2 ? (server => JSON::PP::true) : () },
	wait => 'agent', start => 0) } 1 .. 3;
$_->start for @n;

sub ask { my ($i, $method, $target, $body) = @_; return Raw->new($n[$i])->ask($method, $target, {}, $body) }
sub text { my $r = ask(@_); return "$r->{status} $r->{body}" }
sub get { return $json->decode(ask($_[0], 'GET', $_[1])->{body}) }

# ---- one pool
for my $i (1, 2) {
	is text($i, 'PUT', "/v1/agent/join/$n[0]{ip}:$n[0]{ports}{serf_lan}"), '200 ', "node " . ($i + 1) . ' joins';
}
for my $i (0 .. 2) {
	ok $n[0]->wait_for(sub { 3 == grep { $_->{Status} == 1 } @{get($i, '/v1/agent/members')} }), 'sees all three';
}
ok $n[0]->wait_for(sub { @{get(0, '/v1/agent/members?wan=1')} == 2 }), 'the servers are in the WAN pool';

# ---- events
my $r = ask(2, 'PUT', '/v1/event/fire/deploy', "\0payload");
is $r->{status}, 200, 'an event from a client node';
my $fired = $json->decode($r->{body});
like $fired->{ID}, qr/^[0-9a-f-]{36}$/, 'has an ID';
is join(' ', @$fired{qw(Name Payload Version LTime)}), 'deploy AHBheWxvYWQ= 1 0', 'and what it says';
for my $i (0 .. 2) {
	ok $n[0]->wait_for(sub { grep { $_->{ID} eq $fired->{ID} } @{get($i, '/v1/event/list')} }), 'comes to node ' . ($i + 1);
}
my ($seen) = grep { $_->{ID} eq $fired->{ID} } @{get(0, '/v1/event/list?name=deploy')};
is $seen->{Payload}, 'AHBheWxvYWQ=', 'with its payload';
cmp_ok $seen->{LTime}, '>', 0, 'and a time';
is_deeply get(0, '/v1/event/list?name=none'), [], 'none of another name';
is ask(0, 'GET', '/v1/event/list?name=none')->{headers}{'X-Consul-Index'}, 1, 'under index 1';
# Who waits gets the next one, whatever its index.
my @waits;
for my $i (0 .. 2) {
	my $index = ask($i, 'GET', '/v1/event/list')->{headers}{'X-Consul-Index'};

	$waits[$i] = Raw->new($n[$i]);
	$waits[$i]->send("GET /v1/event/list?index=$index&wait=60s HTTP/1.1\r\nHost: x\r\n\r\n");
}
is ask(0, 'PUT', '/v1/event/fire/second?node=node[12]')->{status}, 200, 'one for two nodes';
for my $i (0, 1) {
	my $reply = $waits[$i]->reply;

	is $reply && $json->decode($reply->{body})->[-1]{Name}, 'second', 'comes to who waits at node ' . ($i + 1);
}
is ask(1, 'PUT', '/v1/event/fire/third?node=node3')->{status}, 200, 'one for the third node';
my $reply = $waits[2]->reply;
is join(' ', map { $_->{Name} } @{$json->decode($reply->{body})}), 'deploy third', 'which did not see the second';
like text(0, 'PUT', '/v1/event/fire/big', 'x' x 500), qr/^500 user event exceeds configured limit of 512 bytes before encoding$/, 'too large';
like text(0, 'PUT', '/v1/event/fire/bad?node=('), qr/^500 Invalid node filter: /, 'a filter that is none';

# ---- coordinates
ok $n[0]->wait_for(sub { my $dcs = get(0, '/v1/coordinate/datacenters'); return @$dcs == 1 && @{$dcs->[0]{Coordinates}} == 2 }, 60),
	'coordinate/datacenters: both servers';
my $dcs = get(0, '/v1/coordinate/datacenters');
is "$dcs->[0]{Datacenter} $dcs->[0]{AreaID} " . join(' ', map { $_->{Node} } @{$dcs->[0]{Coordinates}}), 'dc1 wan node1 node2', 'by name and datacenter';
ok $n[0]->wait_for(sub { my $dcs = eval { get(2, '/v1/coordinate/datacenters') }; return $dcs && @$dcs == 1 && @{$dcs->[0]{Coordinates}} == 2 }, 60),
	'a client node asks a server';
my $coord = get(0, '/v1/agent/self')->{Coord};
is scalar @{$coord->{Vec}}, 8, 'agent/self: Coord';

# By way of a client node, and of a server that does not lead; of nodes without an agent, which would tell another one.
for my $i (1, 2) {
	ok $n[0]->wait_for(sub { text($i, 'PUT', '/v1/catalog/register', $json->encode({ Node => "ext$i", Address => '10.0.0.1' })) eq '200 true' }), "a node, by way of node " . ($i + 1);
	is text($i, 'PUT', '/v1/coordinate/update', $json->encode({ Node => "ext$i", Coord => { Vec => [$i, (0) x 7], Error => 1, Adjustment => 0, Height => 0.001 } })),
		'200 ', 'lies somewhere';
	ok $n[0]->wait_for(sub { my $r = ask($i, 'GET', "/v1/coordinate/node/ext$i"); return $r->{status} == 200 && $json->decode($r->{body})->[0]{Coord}{Vec}[0] == $i }),
		'which is written';
}
is +(map { $_->{Node} } @{get(2, '/v1/catalog/nodes?near=ext2')})[0], 'ext2', 'near=, asked of a client node';

# ---- the keyring
sub keys_of
{
	my ($list) = @_;

	return join '; ', map { my $k = $_->{Keys}; ($_->{WAN} ? 'WAN' : 'LAN') . " of $_->{NumNodes}: " .
		join ' ', map { ($_ eq $key ? 'a' : 'b') . "=$k->{$_}" } sort keys %$k } @$list;
}
is keys_of(get(0, '/v1/operator/keyring')), 'WAN of 2: a=2; LAN of 3: a=3', 'operator/keyring';
is keys_of(get(0, '/v1/operator/keyring?local-only=1')) =~ /LAN/ ? 1 : 0, 1, 'local-only';
is text(0, 'POST', '/v1/operator/keyring?relay-factor=1', $json->encode({ Key => $other })), '200 ', 'install';
is keys_of(get(1, '/v1/operator/keyring')), 'WAN of 2: a=2 b=2; LAN of 3: a=3 b=3', 'everybody has it';
is text(0, 'PUT', '/v1/operator/keyring', $json->encode({ Key => $other })), '200 ', 'use';
is_deeply [map { [keys %{$_->{PrimaryKeys}}] } @{get(1, '/v1/operator/keyring')}], [[$other], [$other]], 'everybody does';
like text(0, 'DELETE', '/v1/operator/keyring', $json->encode({ Key => $other })), qr/^500 \d+ errors? occurred:\n\t\* WAN error: /, 'the one in use stays';
is text(0, 'DELETE', '/v1/operator/keyring', $json->encode({ Key => $key })), '200 ', 'remove';
is keys_of(get(0, '/v1/operator/keyring')), 'WAN of 2: b=2; LAN of 3: b=3', 'it is gone';

# ---- leaving
is text(0, 'PUT', '/v1/agent/force-leave/none'), "500 agent: No node found with name 'none'", 'force-leave of nobody';
is text(0, 'PUT', '/v1/agent/force-leave/none?wan'), "500 agent: No node found with name 'none'", 'nor in the WAN pool';
$n[2]->kill;
is text(0, 'PUT', '/v1/agent/force-leave/node3?prune'), '200 ', 'force-leave and prune';
ok $n[0]->wait_for(sub { my @m = grep { $_->{Name} eq 'node3' } @{get(0, '/v1/agent/members')}; return !@m || $m[0]{Status} != 1 }, 60), 'takes effect';
$_->stop for @n[0, 1];
unlike join('', map { $_->log_text . $_->err_text } @n), qr/Sanitizer|runtime error/, 'cleanly';

# ---- without keys
@n = (Node->new(wait => 'agent'));
like text(0, 'GET', '/v1/operator/keyring'), qr/^500 \d+ errors occurred:\n.*Keyring is empty \(encryption not enabled\)\n\n$/s, 'a pool without keys';
done_testing;
