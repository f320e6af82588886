#!/usr/bin/perl
# /v1/operator/raft and /v1/operator/autopilot, and what reads say of who answered them, on three servers.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Cluster;

my $c = Cluster->new(servers => 3, config => { autopilot => { cleanup_dead_servers => JSON::PP::false } });
my $json = JSON::PP->new->allow_nonref;
my ($s, $h, $b, $r);
sub is_answer { my ($n, $method, $path, $body, $status, $text, $name) = @_;
	my ($s, undef, $b) = $n->http($method, "/v1/operator/$path", $body);
	is "$s $b", "$status $text", $name // "$method $path" }
sub value { my ($n, $path) = @_; my ($s, undef, $b) = $n->http('GET', "/v1/operator/$path"); return ($s, $s == 599 ? undef : $json->decode($b)) }

# ---- raft/configuration
my $leader = $c->leader;
my ($f, $g) = $c->followers;
for my $n ($leader, $f) {
	my $who = $n == $leader ? 'the leader' : 'a follower';
	$r = $n->get_json('/v1/operator/raft/configuration');
	is_deeply [sort keys %$r], [qw(Index Servers)], "configuration, asked of $who";
	is_deeply [sort map { $_->{Node} } @{$r->{Servers}}], [qw(s1 s2 s3)], 'all servers';
	is_deeply [map { $_->{Node} } grep { $_->{Leader} } @{$r->{Servers}}], [$leader->{name}], 'who leads';
	is scalar(grep { $_->{Voter} && $_->{ProtocolVersion} eq '3' && $_->{ID} =~ /^[0-9a-f-]{36}$/ } @{$r->{Servers}}), 3, 'voters';
	is_deeply [sort map { $_->{Address} } @{$r->{Servers}}], [sort map { "$_->{ip}:$_->{ports}{server}" } $c->nodes], 'addresses';
}
my %id = map { $_->{Node} => $_->{ID} } @{$r->{Servers}};
is +($f->http('GET', '/v1/operator/raft/configuration?stale'))[0], 200, '?stale';
is_deeply $f->get_json('/v1/status/peers'), $leader->get_json('/v1/status/peers'), 'status/peers is the same everywhere';
is scalar @{$f->get_json('/v1/status/peers')}, 3, 'and has all';
is $f->get_json('/v1/status/leader'), "$leader->{ip}:$leader->{ports}{server}", 'status/leader at a follower';

# ---- raft/peer
is_answer($f, 'DELETE', 'raft/peer', undef, 400, "Bad request: Must specify either ?id with the server's ID or ?address with IP:port of peer to remove");
is_answer($f, 'DELETE', 'raft/peer?id=x&address=y', undef, 400, 'Bad request: Must specify only one of ?id or ?address');
is_answer($f, 'DELETE', 'raft/peer?address=1.2.3.4:5', undef, 500, 'address "1.2.3.4:5" was not found in the Raft configuration');
is_answer($f, 'DELETE', 'raft/peer?id=nobody', undef, 500, 'id "nobody" was not found in the Raft configuration');
is +($f->http('GET', '/v1/operator/raft/peer'))[0], 405, 'only DELETE';

# ---- raft/transfer-leader
($s, undef, $b) = $g->http('POST', "/v1/operator/raft/transfer-leader?id=$id{$f->{name}}");
is $s, 200, "transfer-leader: $b";
is_deeply $s == 200 ? $json->decode($b) : $b, { Success => JSON::PP::true }, 'says so';
ok $g->wait_for(sub { $g->get_json('/v1/status/leader') eq "$f->{ip}:$f->{ports}{server}" }), 'the one that was asked for leads';
isnt +($g->http('POST', '/v1/operator/raft/transfer-leader?id=nobody'))[0], 200, 'to nobody';
is +($g->http('PUT', '/v1/operator/raft/transfer-leader'))[0], 200, 'to any, by PUT';
ok $g->wait_for(sub { $g->get_json('/v1/status/leader') !~ /^(?:|\Q$f->{ip}\E:\d+)$/ }), 'another one leads';

# ---- autopilot/configuration
$r = $f->get_json('/v1/operator/autopilot/configuration');
my ($create, $modify) = (delete $r->{CreateIndex}, delete $r->{ModifyIndex});
ok $create > 0 && $modify >= $create, 'autopilot: indexes';
is_deeply $r, { CleanupDeadServers => JSON::PP::false, LastContactThreshold => '200ms', MaxTrailingLogs => 250, MinQuorum => 0,
	ServerStabilizationTime => '10s', RedundancyZoneTag => '', DisableUpgradeMigration => JSON::PP::false, UpgradeVersionTag => '' },
	'the rest, from the config';
my %set = (%$r, MaxTrailingLogs => 500, LastContactThreshold => '300ms');
is_answer($f, 'PUT', 'autopilot/configuration?cas=1', \%set, 200, 'false', 'another has written it before');
is_answer($f, 'PUT', "autopilot/configuration?cas=$modify", \%set, 200, 'true', 'CAS');
$r = $g->get_json('/v1/operator/autopilot/configuration?consistent');
is "$r->{MaxTrailingLogs} $r->{LastContactThreshold} $r->{CreateIndex}", "500 300ms $create", 'is in force';
cmp_ok $r->{ModifyIndex}, '>', $modify, 'and newer';
is_answer($f, 'PUT', 'autopilot/configuration', { %set, ServerStabilizationTime => '1s' }, 200, 'true', 'without CAS');
is_answer($f, 'PUT', 'autopilot/configuration?cas=x', \%set, 400, 'Bad request: Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax');
is_answer($f, 'PUT', 'autopilot/configuration', '{"NoSuch":1}', 400, 'Bad request: Error parsing autopilot config: json: unknown field "NoSuch"');
is +($f->http('PUT', '/v1/operator/autopilot/configuration', '{'))[0], 400, 'no JSON';
is +($f->http('PUT', '/v1/operator/autopilot/configuration', '{"LastContactThreshold":"soon"}'))[0], 400, 'no duration';

# ---- autopilot/health and state
$g->wait_for(sub { (value($g, 'autopilot/health'))[0] == 200 });
($s, $r) = value($g, 'autopilot/health');
is $s, 200, 'health';
is "$r->{Healthy} $r->{FailureTolerance}", '1 1', 'one may be lost';
is_deeply [sort keys %{$r->{Servers}[0]}], [qw(Address Healthy ID LastContact LastIndex LastTerm Leader Name SerfStatus StableSince Version Voter)],
	'what is said of a server';
is scalar(grep { $_->{Healthy} && $_->{SerfStatus} eq 'alive' && $_->{LastContact} =~ /^[\d.]+(?:s|ms|µs)$/ && $_->{StableSince} =~ /^2\d{3}-/ } @{$r->{Servers}}), 3, 'of all';
($s, $r) = value($g, 'autopilot/state');
is "$s $r->{Healthy} $r->{FailureTolerance} $r->{OptimisticFailureTolerance}", '200 1 1 1', 'state';
is_deeply [sort keys %{$r->{Servers}}], [sort values %id], 'by ID';
is_deeply [sort @{$r->{Voters}}], [sort values %id], 'voters';
is $r->{Servers}{$r->{Leader}}{Status}, 'leader', 'the leader';

# ---- one is lost
$leader = $c->leader;
($f, $g) = $c->followers;
$f->kill;
$g->wait_for(sub { (value($g, 'autopilot/health'))[0] == 429 });
($s, $r) = value($g, 'autopilot/health');
is $s, 429, 'health is 429 while a server is lost';
is_deeply [map { $_->{Name} } grep { !$_->{Healthy} } @{$r->{Servers}}], [$f->{name}], 'and says which';
is "$r->{Healthy} $r->{FailureTolerance}", '0 0', 'no other may be lost';
is_answer($g, 'DELETE', "raft/peer?id=$id{$f->{name}}", undef, 200, '', 'it is taken out');
is_deeply [sort map { $_->{Node} } @{$g->get_json('/v1/operator/raft/configuration')->{Servers}}], [sort map { $_->{name} } $leader, $g], 'two are left';
is +(value($g, 'autopilot/health'))[0], 200, 'and healthy';

# ---- what reads say
(undef, $h) = $leader->http('GET', '/v1/catalog/nodes');
is "$h->{'x-consul-knownleader'} $h->{'x-consul-lastcontact'} $h->{'x-consul-effective-consistency'}", 'true 0 leader', 'a read at the leader';
(undef, $h) = $g->http('GET', '/v1/catalog/nodes?stale');
like "$h->{'x-consul-knownleader'} $h->{'x-consul-effective-consistency'}", qr/^true stale$/, 'a stale one at a follower';
(undef, $h) = $g->http('GET', '/v1/catalog/nodes?consistent');
is "$h->{'x-consul-knownleader'} $h->{'x-consul-effective-consistency'}", 'true consistent', 'a consistent one';
$leader->kill;
ok $g->wait_for(sub { ($g->http('GET', '/v1/kv/_cluster?stale'))[1]{'x-consul-knownleader'} eq 'false' }), 'without a leader stale reads say so';
my $old;
$g->wait_for(sub { (undef, $h) = $g->http('GET', '/v1/catalog/nodes?stale'); ($old = $h->{'x-consul-lastcontact'}) > 1000 });
cmp_ok $old, '>', 1000, 'and how long ago one was heard';
($s, undef, $b) = $g->http('GET', '/v1/catalog/nodes?max_stale=500ms');
is "$s $b", '500 No cluster leader', 'one that must be newer waits for a leader, in vain';
is +($g->http('GET', '/v1/catalog/nodes?max_stale=10m'))[0], 200, 'one that need not be does not';
($s, undef, $b) = $g->http('GET', '/v1/operator/raft/configuration?stale');
is $s, 200, 'who the servers are is told also then';
is_deeply [grep { $_->{Leader} } @{$json->decode($b)->{Servers}}], [], 'none of them leads';
unlike $c->logs, qr/Sanitizer|runtime error/, 'nothing was done wrong';
done_testing;
