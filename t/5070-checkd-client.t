#!/usr/bin/perl
# A client node: its services, checks and coordinate in the catalog, its watches, and jobs that others run on it.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use File::Temp ();
use JSON::PP ();
use Node;
use Test::More;
use Time::HiRes qw(time);

my $dir = File::Temp->newdir("client-$$-XXXXXX", TMPDIR => 1);
my %fast = (gossip_lan => { gossip_interval => '20ms', probe_interval => '200ms', probe_timeout => '100ms' });
sub slurp { my ($path) = @_; open my $f, '<', $path or return ''; local $/; return <$f> // ''; }

# The client is there first, with nobody to tell of its service.
my $s = Node->new(name => 's1', start => 0, config => { %fast });
my $c = Node->new(name => 'c1', wait => 'agent', config => { %fast, server => JSON::PP::false, bootstrap_expect => 0,
	retry_join => ["$s->{ip}:$s->{ports}{serf_lan}"], retry_interval => '1s', node_meta => { rack => '7' },
	disable_remote_exec => JSON::PP::false, enable_local_script_checks => JSON::PP::true,
	service => { name => 'web', port => 80, check => { args => ['sh', '-c', "cat $dir/state"], interval => '1s' } },
	watches => [{ type => 'event', name => 'deploy', handler => "cat >>$dir/events" }] });
ok($c->wait_log(qr/failed to sync remote state/), 'without servers nothing is told, which is in the log');
is(($c->http('PUT', '/v1/agent/service/register', { Name => 'api', Port => 90 }))[0], 200, 'a service is registered all the same');
is_deeply([sort keys %{$c->get_json('/v1/agent/services')}], ['api', 'web'], 'and the agent shows it');

$s->start;
sub services { my $n = $s->get_json('/v1/catalog/node/c1'); return $n ? join ' ', sort keys %{$n->{Services}} : ''; }
sub check { my ($id) = @_; my ($c) = grep { $_->{CheckID} eq $id } @{$s->get_json('/v1/health/node/c1')}; return $c ? $c->{Status} : ''; }
ok($s->wait_for(sub { services() eq 'api web' }), 'when a server appears it is told') or diag $c->log_text;
ok($s->wait_for(sub { check('serfHealth') eq 'passing' }), 'the leader says that the node lives');
my $node = $s->get_json('/v1/catalog/node/c1')->{Node};
is($node->{Address}, $c->{ip}, 'the node has its address');
is($node->{Meta}{rack}, '7', 'and its metadata');
is($node->{ID}, $c->get_json('/v1/agent/self')->{Config}{NodeID}, 'and its own ID');

# Checks run here and show there.
ok($s->wait_for(sub { check('service:web') eq 'warning' }), 'a failing check') or diag check('service:web');
Node::write_file("$dir/state", "fine\n");
ok($s->wait_for(sub { check('service:web') eq 'passing' }), 'that passes');
is($c->get_json('/v1/health/service/web?passing')->[0]{Node}{Node}, 'c1', 'the client finds itself through the server');
is(($c->http('PUT', '/v1/agent/service/maintenance/api?enable=true&reason=why'))[0], 200, 'maintenance');
ok($s->wait_for(sub { check('_service_maintenance:api') eq 'critical' }), 'shows at once');
is(($c->http('PUT', '/v1/agent/service/deregister/api'))[0], 200, 'a service goes');
ok($s->wait_for(sub { services() eq 'web' && check('_service_maintenance:api') eq '' }), 'with its checks');

# What others write under our name is put right, at the latest by the next comparison, of which a new checkd makes one at once.
is(($s->http('PUT', '/v1/catalog/register', { Node => 'c1', Address => $c->{ip}, SkipNodeUpdate => JSON::PP::true,
	Service => { Service => 'ghost' } }))[0], 200, 'a service that is none');
is(($s->http('PUT', '/v1/catalog/deregister', { Node => 'c1', ServiceID => 'web' }))[0], 200, 'and one that is taken away');
is(services(), 'ghost', 'as others would have it');
my %pids = $c->pids;
kill 'KILL', $pids{checkd};
ok($s->wait_for(sub { services() eq 'web' && check('service:web') eq 'passing' }), 'checkd that died comes back and puts all right');

# The watch of an event.
ok($c->wait_for(sub { slurp("$dir/events") =~ /\[\]/ }), 'a watch of events begins with none') or diag slurp("$dir/events");
my ($rc, $out, $err) = $s->ctl('event', '-name=deploy', 'v2');
is($rc, 0, 'an event is fired at the server') or diag $err;
ok($c->wait_for(sub { slurp("$dir/events") =~ /"Name":"deploy"/ }), 'and runs the handler at the client');

# A job.
($rc, $out, $err) = $s->ctl('exec', '-node=c1', "echo from-\$0; echo two >&2; exit 4");
is($rc, 2, 'a remote job that fails') or diag $err;
like($out . $err, qr/c1: from-/, 'was run on the client');
like($out . $err, qr/c1: two/, 'both outputs are shown');
like($out . $err, qr/c1: finished with exit code 4/, 'with its exit code');
($rc, $out, $err) = $s->ctl('exec', '-node=s1', 'true');
unlike($out . $err, qr/finished with exit code/, 'a node that does not allow it runs nothing');

# The coordinate, which is told every 15 to 30 seconds and written within five.
ok($s->wait_for(sub { my ($st, undef, $b) = $s->http('GET', '/v1/coordinate/node/c1'); $st == 200 && $b =~ /"Vec":\s*\[/ }, 60), 'the coordinate of the client is known');

for my $n ($c, $s) {
	ok(defined $n->stop, "$n->{name} ends");
	unlike($n->log_text . $n->err_text, qr/AddressSanitizer|runtime error|LeakSanitizer/, 'with nothing for the sanitizers');
}
done_testing;
