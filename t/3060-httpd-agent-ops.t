#!/usr/bin/perl
# /v1/agent: self, members, metrics, monitor, host, version, join, reload, leave; /v1/status.
use strict;
use warnings;
use Test::More;
use JSON::PP;
use Time::HiRes qw(time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(config => { telemetry => { prometheus_retention_time => '60s', disable_hostname => JSON::PP::true },
	node_meta => { rack => 'r1' } }, wait => 'agent');
my $json = JSON::PP->new->allow_nonref;
my $r;

sub ask { return Raw->new($n)->ask(@_) }

# ---- status
ok $n->wait_for(sub { ask('GET', '/v1/status/leader')->{body} eq "\"$n->{ip}:$n->{ports}{server}\"" }), 'status/leader';
is ask('GET', '/v1/status/peers')->{body}, "[\"$n->{ip}:$n->{ports}{server}\"]", 'status/peers';
ok !exists ask('GET', '/v1/status/leader')->{headers}{'X-Consul-Index'}, 'without an index';

# ---- self
my $self = $n->get_json('/v1/agent/self');
is_deeply [sort keys %$self], [qw(Config Coord DebugConfig Member Meta Stats)], 'self: its parts';
is $self->{Config}{NodeName}, $n->{name}, 'node name';
is $self->{Config}{Datacenter}, 'dc1', 'datacenter';
is $self->{Config}{PrimaryDatacenter}, 'dc1', 'primary datacenter';
is $self->{Config}{Server}, JSON::PP::true, 'server';
like $self->{Config}{Version}, qr/^1\.\d+\.\d+$/, 'a version that clients can compare';
like $self->{Config}{NodeID}, qr/^[0-9a-f-]{36}$/, 'node id';
is $self->{Member}{Name}, $n->{name}, 'Member';
is $self->{Member}{Status}, 1, 'is alive';
is $self->{Member}{Tags}{role}, 'consul', 'with tags';
is scalar @{$self->{Coord}{Vec}}, 8, 'Coord';
is $self->{Meta}{rack}, 'r1', 'Meta';
is $self->{Stats}{$_} ? 1 : 0, 1, "Stats: $_" for qw(agent build consul raft runtime serf_lan serf_wan);
is $self->{Stats}{consul}{leader}, 'true', 'the leader';
ok !(grep { ref $_ } map { values %$_ } values %{$self->{Stats}}), 'Stats are texts';
ok exists $self->{DebugConfig}{BindAddr}, 'DebugConfig';

# ---- members
my $members = $n->get_json('/v1/agent/members');
is scalar @$members, 1, 'members';
is_deeply [sort keys %{$members->[0]}], [sort qw(Name Addr Port Tags Status ProtocolMin ProtocolMax ProtocolCur DelegateMin DelegateMax DelegateCur)], 'their fields';
is $n->get_json('/v1/agent/members?wan=1')->[0]{Name}, "$n->{name}.dc1", 'of the WAN pool';
$r = ask('PUT', '/v1/agent/join/127.0.0.1:1');
is $r->{status}, 500, 'join of nobody';
like $r->{body}, qr/1 error occurred:\n\t\* Failed to join /, 'says why';
$r = ask('PUT', '/v1/agent/force-leave/zz');
is "$r->{status} $r->{body}", "500 agent: No node found with name 'zz'", 'force-leave of an unknown node';

# ---- host, version
my $host = $n->get_json('/v1/agent/host');
ok $host->{Memory}{total} > 0 && @{$host->{CPU}} && $host->{Host}{hostname} ne '' && $host->{Disk}{total} > 0, 'host';
like $n->get_json('/v1/agent/version')->{HumanVersion}, qr/^1\./, 'version';

# ---- metrics
my $m = $n->get_json('/v1/agent/metrics');
like $m->{Timestamp}, qr/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC$/, 'metrics: timestamp';
is_deeply [sort keys %$m], [qw(Counters Gauges Points Samples Timestamp)], 'parts';
ok $n->wait_for(sub {
	my ($s) = grep { $_->{Name} eq 'consul.http.GET.v1.status.leader' } @{$n->get_json('/v1/agent/metrics')->{Samples}};
	return $s && $s->{Count} > 0 && $s->{Max} >= $s->{Mean} && $s->{Mean} >= $s->{Min};
}, 25), 'samples of the last interval';
$r = ask('GET', '/v1/agent/metrics?format=prometheus');
is $r->{headers}{'Content-Type'}, 'text/plain; version=0.0.4; charset=utf-8', 'prometheus: content type';
like $r->{body}, qr/^# TYPE consul_http_GET_v1_status_leader summary\n(?:consul_http_GET_v1_status_leader\{quantile="0\.(?:5|9|99)"\} (?:NaN|[\d.e-]+)\n){3}consul_http_GET_v1_status_leader_sum [\d.]+\nconsul_http_GET_v1_status_leader_count \d+$/m,
	'and text';
is ask('GET', '/v1/agent/metrics', { Accept => 'text/plain;version=0.4.0' })->{body} =~ /^# HELP/m, 1, 'by Accept';

# ---- monitor
$r = ask('GET', '/v1/agent/monitor?loglevel=zz');
is "$r->{status} $r->{body}", '400 Bad request: Unknown log level: zz', 'monitor: a level that is none';
my $mon = Raw->new($n);
$mon->send("GET /v1/agent/monitor?loglevel=debug HTTP/1.1\r\nHost: x\r\n\r\n");
my $text = '';
ok $n->wait_for(sub {
	ask('GET', '/v1/status/peers');
	ask('PUT', '/v1/agent/service/register', {}, '{"Name":"seen"}');
	$mon->_more(time + 0.1);
	return $mon->{in} =~ /agent\.http: Request finished: method=GET url=\/v1\/status\/peers/ && $mon->{in} =~ /agent: Synced service: service=seen/;
}), 'lines of several daemons are streamed';
like $mon->{in}, qr/^HTTP\/1\.1 200 OK\r\n.*Transfer-Encoding: chunked\r\n/s, 'chunked';
my $open = sub { return $n->get_json('/v1/agent/self')->{Stats}{httpd}{http_connections} };
my $before = $open->();
$mon->close;
ok $n->wait_for(sub { return $open->() < $before }), 'a client that goes is noticed';
$mon = Raw->new($n);
$mon->send("GET /v1/agent/monitor?loglevel=debug&logjson HTTP/1.1\r\nHost: x\r\n\r\n");
ok $n->wait_for(sub { ask('GET', '/v1/status/peers'); $mon->_more(time + 0.1); return $mon->{in} =~ /^\{"\@level":"debug".*"\@message"/m }), 'as JSON';

# ---- reload, leave
$r = ask('PUT', '/v1/agent/reload');
is "$r->{status} [$r->{body}]", '200 []', 'reload';
$n->write_config({ log_level => 'nonsense' });
$r = ask('PUT', '/v1/agent/reload');
is $r->{status}, 500, 'a config that is refused';
like $r->{body}, qr/log_level|log level/, 'is told';
is ask('GET', '/v1/status/peers')->{status}, 200, 'and changes nothing';
$n->write_config({ log_level => 'warn', limits => { http_max_conns_per_client => 500 } });
is ask('PUT', '/v1/agent/reload')->{status}, 200, 'a good one';
$r = ask('PUT', '/v1/agent/leave');
is $r->{status}, 200, 'leave';
is $n->wait_exit, 0, 'ends the agent';
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error/, 'cleanly';
done_testing;
