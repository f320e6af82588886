#!/usr/bin/perl
# The first day with a node, sentence by sentence: a service from a file, found by DNS and HTTP, changed by
# SIGHUP, checks that decide what is found, keys, CAS, limits, a woken query, a lock, and an orderly end.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $n = Node->new(dev => 1, config_dir => { 'web.json' => '{"service": {"name": "web", "tags": ["rails"], "port": 80}}' },
	config => { enable_script_checks => JSON::PP::true });

# ---- a service from a config file
ok $n->wait_log(qr/agent: Synced service: service=web/), 'the agent logs that it synced service web';
is $n->dig('web.service.consul', '+short'), "$n->{ip}\n", 'dig finds its address';
like $n->dig('rails.web.service.consul', 'SRV', '+short'), qr/^1 1 80 \Q$n->{name}\E\.node\.dc1\.consul\.$/, 'and port, by tag';
my $list = $n->get_json('/v1/catalog/service/web');
is $list->[0]{ServicePort}, 80, 'the catalog has it';
is_deeply $list->[0]{ServiceTags}, ['rails'], 'with its tag';

# ---- changed by SIGHUP, without a refused query
my $refused = 0;
my $asker = fork // die;
if ($asker == 0) {
	my $bad = 0;
	local $SIG{TERM} = sub { POSIX::_exit($bad > 100 ? 100 : $bad) };
	while (1) {
		$bad++ if $n->dig('web.service.consul', '+short') ne "$n->{ip}\n";
		my ($status) = $n->http('GET', '/v1/catalog/service/web');
		$bad++ if $status != 200;
	}
}
$n->config_dir_file('web.json', '{"service": {"name": "web", "tags": ["rails", "v2"], "port": 81}}');
$n->signal('HUP');
ok $n->wait_for(sub { ($n->get_json('/v1/catalog/service/web')->[0] // {})->{ServicePort} == 81 }), 'SIGHUP makes a change visible';
ok $n->wait_for(sub { $n->dig('v2.web.service.consul', 'SRV', '+short') =~ /^1 1 81 / }), 'in DNS too';
kill 'TERM', $asker;
waitpid $asker, 0;
is $? >> 8, 0, 'and no query failed meanwhile';

# ---- a failing check takes a service out of DNS and ?passing, and leaves it in the catalog
$n->config_dir_file('bad.json', { service => { name => 'bad', port => 9, check => { args => ['sh', '-c', 'exit 2'], interval => '1s' } } });
$n->config_dir_file('ttl.json', { service => { name => 'beat', port => 9, check => { ttl => '10s', status => 'passing' } } });
$n->signal('HUP');
ok $n->wait_for(sub { my $h = $n->get_json('/v1/health/service/bad'); @$h && grep { $_->{ServiceID} eq 'bad' && $_->{Status} eq 'critical' } @{$h->[0]{Checks}} }),
	'a failing script check is critical';
like $n->dig('bad.service.consul'), qr/NXDOMAIN/, 'the service has left DNS';
is_deeply $n->get_json('/v1/health/service/bad?passing'), [], 'and ?passing';
is scalar @{$n->get_json('/v1/catalog/service/bad')}, 1, 'the catalog keeps it';
ok $n->wait_for(sub { $n->dig('beat.service.consul', '+short') eq "$n->{ip}\n" }), 'a TTL check that starts passing is found';
ok $n->wait_for(sub { my $h = $n->get_json('/v1/health/service/beat'); grep { $_->{Status} eq 'critical' && $_->{Output} =~ /^TTL expired/ } @{$h->[0]{Checks}} }),
	'and goes critical when nobody passes it for 10 s';

# ---- keys
is_deeply [$n->ctl('kv', 'put', 'a/b', 'hello')], [0, "Success! Data written to: a/b\n", ''], 'kv put';
is_deeply [$n->ctl('kv', 'get', 'a/b')], [0, "hello\n", ''], 'kv get';
my $index = $n->get_json('/v1/kv/a/b')->[0]{ModifyIndex};
is_deeply [$n->ctl('kv', 'put', '-cas', "-modify-index=$index", 'a/b', 'two')], [0, "Success! Data written to: a/b\n", ''], 'CAS with the right index';
my ($rc, undef, $err) = $n->ctl('kv', 'put', '-cas', "-modify-index=$index", 'a/b', 'three');
is $rc, 1, 'CAS with an old index fails';
like $err, qr/^Error! Did not write to a\/b: CAS failed$/m, 'and says so';
is_deeply [$n->ctl('kv', 'delete', 'a/b')], [0, "Success! Deleted key: a/b\n", ''], 'kv delete';
($rc) = $n->ctl('kv', 'get', 'a/b');
is $rc, 1, 'it is gone';
my ($status, undef, $body) = $n->http('PUT', '/v1/kv/big', 'x' x 524288);
is "$status $body", '200 true' . ($body =~ /\n$/ ? "\n" : ''), 'a value of 512 KiB is stored';
($status, undef, $body) = $n->http('GET', '/v1/kv/big?raw');
is length $body, 524288, 'and comes back';
($status) = $n->http('PUT', '/v1/kv/big', 'x' x 524289);
is $status, 413, 'a larger one is refused';

# ---- a blocking query woken by a write
$n->http('PUT', '/v1/kv/watched', '1');
$index = $n->get_json('/v1/kv/watched')->[0]{ModifyIndex};
pipe my $r, my $w or die;
my $waiter = fork // die;
if ($waiter == 0) {
	close $r;
	my (undef, undef, $got) = $n->http('GET', "/v1/kv/watched?index=$index&wait=25s");
	print $w JSON::PP->new->decode($got)->[0]{Value};
	close $w;
	POSIX::_exit(0);
}
close $w;
sleep 0.2;
$n->http('PUT', '/v1/kv/watched', '2');
is scalar <$r>, 'Mg==', 'a blocking query is woken by a write';
waitpid $waiter, 0;

# ---- a lock that `consulctl lock` waits for
my $session = JSON::PP->new->decode(($n->http('PUT', '/v1/session/create', '{"LockDelay": "0s"}'))[2])->{ID};
is_deeply [map { s/\s+$//r } ($n->http('PUT', "/v1/kv/job/.lock?acquire=$session&flags=3304740253564472344", ''))[2]], ['true'], 'a session takes a lock';
my $locker = fork // die;
if ($locker == 0) {
	my ($lrc, $lout) = $n->ctl('lock', 'job', 'echo got-it');
	POSIX::_exit($lrc == 0 && $lout =~ /got-it/ ? 0 : 1);
}
sleep 0.5;
is waitpid($locker, POSIX::WNOHANG()), 0, '`consulctl lock` waits';
$n->http('PUT', "/v1/session/destroy/$session");
waitpid $locker, 0;
is $? >> 8, 0, 'and runs its command when the lock is free';

# ---- the end
my %pids = $n->pids;
is scalar keys %pids, 5, 'five daemons';
my $t0 = time;
$n->signal('INT');
ok $n->wait_for(sub { !$n->running }, 10), 'Ctrl-C ends the agent';
cmp_ok time - $t0, '<', 2, 'within 2 s';
is scalar(Node::alive(values %pids)), 0, 'with nothing left running';
done_testing;
