#!/usr/bin/perl
# gossipd with ACLs: members, joins, events and keys are for who may, on servers and on clients; daemons ask for themselves.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Test::More;
use JSON::PP ();
use POSIX ();
use Node;
use Acl;
use Cluster;
use Frame;

my $key = 'pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=';
my $c = Cluster->new(servers => 1, clients => 1, wait => 0, config => { encrypt => $key,
	acl => { enabled => JSON::PP::true, default_policy => 'deny', tokens => { initial_management => $Acl::ROOT } } });
my ($s, $k) = @{$c->{nodes}}[0, 1];
Acl::ready($s);
my ($server, $client) = ($s->{name}, $k->{name});

my ($see) = Acl::token($s, "node \"$client\" { policy = \"read\" }");
my ($all) = Acl::token($s, 'node_prefix "" { policy = "read" }');
my ($join) = Acl::token($s, 'agent_prefix "" { policy = "write" }');
my ($deploy, $accessor) = Acl::token($s, 'event "deploy" { policy = "write" }');
my ($hear) = Acl::token($s, 'event_prefix "de" { policy = "read" }');
my ($keys) = Acl::token($s, 'keyring = "read"');
my ($operator) = Acl::token($s, 'operator = "write"');

sub names { my ($n, $token, $path) = @_; return join ' ', sort map { $_->{Name} } @{Acl::get($n, $token, $path)} }

for my $n ($s, $k) {
	my $where = $n == $s ? 'on the server' : 'on the client';

	# ---- members
	ok $n->wait_for(sub { names($n, $all, '/v1/agent/members') eq "$client $server" }), "$where: who may see all nodes sees all members";
	is names($n, $see, '/v1/agent/members'), $client, '... one of them sees one';
	is names($n, undef, '/v1/agent/members'), '', '... nobody sees none';
	is((Acl::http($n, $see, 'GET', '/v1/agent/members'))[2]{'x-consul-results-filtered-by-acls'}, 'true', '... which is told');
	is((Acl::http($n, 'nobody', 'GET', '/v1/agent/members'))[0], 403, '... a token that is none is refused');

	# ---- joining, forcing out
	is((Acl::http($n, $all, 'PUT', "/v1/agent/join/$s->{ip}:$s->{ports}{serf_lan}"))[0], 403, "$where: a join asks for agent:write");
	is((Acl::http($n, $join, 'PUT', "/v1/agent/join/$s->{ip}:$s->{ports}{serf_lan}"))[0], 200, '... and has it');
	is((Acl::http($n, $join, 'PUT', '/v1/agent/force-leave/nobody'))[0], 403, '... forcing out asks for operator:write');
	like((Acl::http($n, $operator, 'PUT', '/v1/agent/force-leave/nobody'))[1], qr/No node found/, '... which looks for the node');

	# ---- events
	my ($status, $body) = Acl::http($n, $deploy, 'PUT', '/v1/event/fire/destroy');
	is $status, 403, "$where: an event asks for its name's right";
	is $body, "Permission denied: token with AccessorID '$accessor' lacks permission 'event:write' on \"destroy\"", '... in these words';
	is((Acl::http($n, $deploy, 'PUT', '/v1/event/fire/deploy'))[0], 200, '... and is fired with it');
	is((Acl::http($n, $Acl::ROOT, 'PUT', '/v1/event/fire/secret'))[0], 200, 'another one');
	ok $n->wait_for(sub { names($n, $Acl::ROOT, '/v1/event/list') =~ /deploy.*secret/ }), 'both arrive';
	unlike names($n, $hear, '/v1/event/list'), qr/secret/, 'the list shows those that may be read';
	like names($n, $hear, '/v1/event/list'), qr/deploy/, '... all of them';
	is names($n, $deploy, '/v1/event/list?name=secret'), '', '... by name, too';

	# ---- keys
	is((Acl::http($n, $operator, 'GET', '/v1/operator/keyring'))[0], 403, "$where: the keys are for who may read them");
	is((Acl::http($n, $keys, 'GET', '/v1/operator/keyring'))[0], 200, '... so');
	is((Acl::http($n, $keys, 'POST', '/v1/operator/keyring', "{\"Key\": \"$key\"}"))[0], 403, '... and not for changing them');
	is((Acl::http($n, $Acl::ROOT, 'POST', '/v1/operator/keyring', "{\"Key\": \"$key\"}"))[0], 200, '... which asks for keyring:write');
}

# ---- a wait: the rights are asked for when it ends

my ($late, undef, $policy) = Acl::token($s, 'node_prefix "" { policy = "read" }');
my $index = (Acl::http($s, $late, 'GET', '/v1/agent/members'))[2]{'x-consul-index'};
my $w = Frame::Client->new("$s->{data_dir}/run/gossipd.sock");
my ($meta) = $w->ask('gossip.members', {}, { Token => $late });
$w->start('gossip.members', {}, { Token => $late, MinIndex => $meta->{Index} });
is(scalar(my @none = $w->reply(0.3)), 0, 'a wait for a change of the members');
Acl::change($s, $policy, "node \"$server\" { policy = \"read\" }");
is((Acl::http($s, $Acl::ROOT, 'PUT', "/v1/agent/force-leave/$client"))[0], 200, 'one that is alive stays');
$k->kill;
my (undef, $m, $list) = $w->reply(30);
is join(' ', map { $_->{Name} } @$list), $server, 'is answered with what may be seen by now';

# ---- daemons among themselves

my $d = Frame::Client->new("$s->{data_dir}/run/gossipd.sock");
for my $op (['gossip.leave', {}], ['gossip.serf_event', { Name => 'consul:new-leader', Payload => 'x' }]) {
	my (undef, $status) = $d->ask($op->[0], $op->[1], { Token => $Acl::ROOT });

	is $status->{Code}, 403, "$op->[0] is no client's, whatever the token";
}
is scalar(@{($d->ask('gossip.event_list', { Name => '_rexec', Internal => JSON::PP::true }, { Token => $Acl::ROOT }))[1]}), 0, 'nor are events between daemons';
ok @{($d->ask('gossip.members', {}, { Internal => JSON::PP::true }))[1]} > 0, 'a daemon\'s own question needs no token';
is join(' ', sort map { $_->{Node} } @{Acl::get($s, $Acl::ROOT, '/v1/catalog/nodes')}), "$client $server", 'raftd asks so: the members are in the catalog';
unlike $s->log_text . $s->err_text, qr/$Acl::ROOT|$see|$all|$deploy|$late/, 'no token is in the log';

# ---- leaving

my ($status) = $s->ctl('leave');
isnt $status, 0, 'consulctl leave without a right';
($status) = $s->ctl('leave', "-token=$join");
is $status, 0, '... and with it';
ok defined $s->wait_exit, 'the agent ends';
done_testing;
