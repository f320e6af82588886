#!/usr/bin/perl
# What tools that were written for Consul lean on, row by row: indexes, odd corners of formats, errors.
use strict;
use warnings;
use Test::More;
use Compress::Zlib ();
use JSON::PP;
use MIME::Base64;
use Time::HiRes qw(sleep time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(wait => 'agent', config => { node_meta => { rack => 'r1' } });
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($r, $t, $i);

sub ask { return Raw->new($n)->ask(@_) }
sub text { my $x = ask(@_); return "$x->{status} $x->{body}" }
sub put { my ($path, $b) = @_; return text('PUT', "/v1/$path", {}, ref $b ? $json->encode($b) : $b // '') }
sub get { return text('GET', "/v1/$_[0]") }
sub index_of { return ask('GET', "/v1/$_[0]")->{headers}{'X-Consul-Index'} }
sub session { my ($b) = @_; return $json->decode(ask('PUT', '/v1/session/create', {}, $json->encode($b // {}))->{body})->{ID} }
sub begin { my ($target) = @_; my $c = Raw->new($n); $c->send("GET /v1/$target HTTP/1.1\r\nHost: x\r\n\r\n"); return $c }
sub register { my ($node, $service, %o) = @_; put('catalog/register', { Node => $node, Address => '10.9.9.9',
	$service ? (Service => { Service => $service, %o }) : () }) }

# A query at its present index is (not) woken by what happens then, long before its time is over.
sub wakes
{
	my ($path, $change, $name) = @_;
	my $at = index_of($path);
	my $c = begin($path . ($path =~ /\?/ ? '&' : '?') . "index=$at&wait=120s");

	$n->wait_for(sub { $n->get_json('/v1/agent/self')->{Stats}{httpd}{blocking_queries} > 0 });
	$change->();
	my $x = $c->reply;
	ok $x && $x->{headers}{'X-Consul-Index'} > $at, $name;
	return $x;
}

sub sleeps
{
	my ($path, $change, $name) = @_;
	my $at = index_of($path);
	my $c = begin($path . ($path =~ /\?/ ? '&' : '?') . "index=$at&wait=20s");

	$n->wait_for(sub { $n->get_json('/v1/agent/self')->{Stats}{httpd}{blocking_queries} > 0 });
	$change->();
	ok !defined $c->reply(seconds => 0.3), $name;
	$c->close;
	$n->wait_for(sub { $n->get_json('/v1/agent/self')->{Stats}{httpd}{blocking_queries} == 0 });
}

ok $n->wait_for(sub { my $x = $n->get_json('/v1/catalog/nodes'); @$x && $x->[0]{TaggedAddresses} && $x->[0]{Meta} }), 'our node is in the catalog';
ok $n->wait_for(sub { @{$n->get_json('/v1/health/service/consul')} }), 'and so is the server';

# ---- 0.6 indexes that say "never written"
is index_of('kv/none'), 1, 'KV before any write: index 1';
is index_of('kv/none/?recurse'), 1, 'below a prefix';
is index_of('session/list'), 1, 'sessions before any';

# ---- 0.6 KV
sleeps('kv/p/?recurse', sub { put('kv/other', 'x') }, 'a prefix with nothing below: other writes do not wake it, for there is nothing still');
is index_of('kv/p/?recurse'), index_of('kv/?recurse'), 'though its index is that of the table';
put('kv/p/a', '1');
sleeps('kv/p/?recurse', sub { put('kv/other', 'y') }, 'one with a key is not woken by others');
$i = index_of('kv/p/?recurse');
is $i, $n->get_json('/v1/kv/p/a')->[0]{ModifyIndex}, 'a prefix: the highest ModifyIndex below';
sleeps('kv/p/?recurse', sub { put('kv/p/a', '1') }, 'a write that changes nothing wakes nobody');
put('kv/p/b', '2');
$r = wakes('kv/p/?keys', sub { ask('DELETE', '/v1/kv/p/b') }, 'a delete wakes the prefix');
is $r->{body}, '["p/a"]', 'which shows what is left';
ok index_of('kv/p/?recurse') > $n->get_json('/v1/kv/p/a')->[0]{ModifyIndex}, 'the tombstone counts for the index';
is index_of('kv/none'), index_of('kv/?recurse'), 'an absent key: index of the table';
sleeps('kv/none', sub { put('kv/other', 'z') }, 'an absent key goes on waiting while it stays absent');
$i = index_of('kv/none');
my $late = begin("kv/none?index=$i&wait=500ms");
put('kv/other', 'zz');
$r = $late->reply;
ok $r->{status} == 404 && $r->{headers}{'X-Consul-Index'} > $i, 'in the end it is told the higher index of the table';
$r = wakes('kv/none', sub { put('kv/none', '1') }, 'and wakes when the key comes');
is $r->{status}, 200, 'with it';
$r = wakes('kv/none', sub { ask('DELETE', '/v1/kv/none') }, 'and when it goes');
is $r->{status}, 404, 'without it';
$i = index_of('kv/p/a');
is ask('GET', '/v1/kv/p/a?index=' . ($i + 1000) . '&wait=100ms')->{headers}{'X-Consul-Index'}, $i, 'an index from the future gets the present one after its wait';
$t = time;
is ask('GET', '/v1/kv/p/a?index=' . $i . '&wait=1s')->{headers}{'X-Consul-Index'}, $i, 'a wait that is over: the same index';
ok time - $t >= 1, 'not before its time';

# ---- 0.6 catalog and health
register('ext', 'web', Port => 80);
sleeps('health/service/gone', sub { register('ext', 'web2', Port => 81) }, 'an unknown service: others that come do not wake it');
wakes('health/service/gone', sub { register('ext', 'gone', Port => 81) }, 'its first instance does');
sleeps('health/service/web', sub { register('ext', 'web2', Port => 82) }, 'a service is not woken by another one');
wakes('health/service/web', sub { register('ext', 'web', Port => 83) }, 'but by itself');
wakes('health/service/web', sub { put('catalog/register', { Node => 'ext', Address => '10.9.9.9', Check => { Name => 'n', Status => 'passing' } }) }, 'and by a check of its node');
wakes('health/service/web', sub { put('catalog/register', { Node => 'ext', Address => '10.9.9.10' }) }, 'and by the node');
sleeps('catalog/service/web', sub { register('ext3', 'web3', Port => 1) }, 'a service of the catalog alike');
sleeps('catalog/services', sub { register('ext', 'web2', Port => 84) }, 'the list of services: not by what it does not show');
wakes('catalog/services', sub { register('ext', 'web2', Port => 84, Tags => ['new']) }, 'but by a tag');
wakes('catalog/nodes', sub { register('ext4') }, 'the nodes: by any node');
sleeps('catalog/node/ext', sub { register('ext5', 'x') }, 'one node: not by others');
wakes('catalog/node/ext', sub { register('ext', 'web2', Port => 85, Tags => ['new']) }, 'but by its services');
wakes('health/state/any', sub { put('catalog/register', { Node => 'ext', Address => '10.9.9.10', Check => { Name => 'n', Status => 'warning' } }) }, 'states: by any check');
wakes('session/list', sub { session() }, 'sessions');
my $id = session();
wakes("session/info/$id", sub { put("session/destroy/$id") }, 'one session: by its end');
$i = index_of('health/service/gone');
put('catalog/deregister', { Node => 'ext', ServiceID => 'gone' });
ok index_of('health/service/gone') > $i, 'a service that is gone: index of its extinction';
$i = index_of('health/service/gone');
register('ext', 'newer', Port => 1);
is index_of('health/service/gone'), $i, 'which a new service does not move';
sleeps('health/service/web?filter=' . 'Service.Port+%3D%3D+1', sub { register('ext', 'web', Port => 90) }, 'what a filter hides wakes nobody');
wakes('health/service/web?filter=' . 'Service.Port+%3D%3D+1', sub { register('ext', 'web', Port => 1) }, 'what it shows does');

# ---- 0.3 headers of answers with an index
for (['kv/p/a', 0], ['kv/absent', 0], ['session/list', 0], ['catalog/services', 1], ['catalog/nodes', 1], ['catalog/service/web', 1], ['catalog/node/ext', 1],
    ['catalog/node/absent', 1], ['catalog/node-services/ext', 1], ['health/service/web', 1], ['health/node/ext', 1], ['health/checks/web', 1], ['health/state/any', 1]) {
	my ($path, $consistency) = @$_;
	my $h = ask('GET', "/v1/$path")->{headers};
	is join(' ', map { $h->{$_} // 'none' } qw(X-Consul-Knownleader X-Consul-Lastcontact X-Consul-Query-Backend X-Consul-Effective-Consistency X-Consul-Default-Acl-Policy)),
		'true 0 blocking-query ' . ($consistency ? 'leader' : 'none') . ' allow', "headers of $path";
}
for ('status/leader', 'agent/self', 'agent/services', 'catalog/datacenters') {
	my $h = ask('GET', "/v1/$_")->{headers};
	ok !exists $h->{'X-Consul-Index'} && !exists $h->{'X-Consul-Knownleader'}, "none of them with $_";
	is $h->{'X-Consul-Default-Acl-Policy'}, 'allow', "but the policy with $_";
}
is ask('GET', '/v1/kv/a?index=x')->{headers}{'X-Consul-Default-Acl-Policy'}, 'allow', 'and with errors';

# ---- 0.1 gzip from 1400 bytes on
put('kv/len1399', 'x' x 1399);
put('kv/len1400', 'x' x 1400);
ok !exists ask('GET', '/v1/kv/len1399?raw', { 'Accept-Encoding' => 'gzip' })->{headers}{'Content-Encoding'}, '1399 bytes are not compressed';
is ask('GET', '/v1/kv/len1400?raw', { 'Accept-Encoding' => 'gzip' })->{headers}{'Content-Encoding'}, 'gzip', '1400 are';

# ---- 0.1 JSON as Go writes it
register('esc', 'escaped', Meta => { z => '<&>', a => "\x{1}\n\t", m => "\x{fc}" }, Tags => ["\x{2028}"]);
like ask('GET', '/v1/catalog/service/escaped')->{body}, qr/"ServiceTags":\["\\u2028"\].*"ServiceMeta":\{"a":"\\u0001\\n\\t","m":"\xc3\xbc","z":"\\u003c\\u0026\\u003e"\}/,
	'control characters, separators and HTML are escaped, UTF-8 is not; keys are sorted';
like ask('GET', '/v1/agent/self')->{body}, qr/"Height":0\.00001[,}]/, 'floats as Go writes them';


# ---- 0.5 filters: what each form matches
put('catalog/register', { Node => 'f1', Address => '10.0.0.5', NodeMeta => { zone => 'a', 'a-b' => 'x' },
	Service => { ID => 'f1s', Service => 'fs', Tags => ['red', 'blue'], Meta => { ver => '1' }, Port => 8080, TaggedAddresses => { wan => { Address => '9.9.9.9', Port => 7 } } },
	Checks => [{ Name => 'c1', Status => 'passing', ServiceID => 'f1s' }, { Name => 'n1', Status => 'warning' }] });
sub filter { my ($path, $f) = @_; $f =~ s/([^A-Za-z0-9.])/sprintf '%%%02X', ord $1/ge; return ask('GET', "/v1/$path?filter=$f") }
for (['Service.Tags contains red', 1], ['"red" in Service.Tags', 1], ['red in Service.Tags and blue in Service.Tags', 1], ['Service.Tags not contains red', 0],
    ['green not in Service.Tags', 1], ['Service.Meta.ver == 1', 1], ['Service.Meta["ver"] == "1"', 1], ['ver in Service.Meta', 1], ['Service.Meta.none == 1', 0],
    ['Service.Meta.none != 1', 1], ['Node.Meta["a-b"] == x', 1], ['Node.Meta.zone matches "^[ab]$"', 1], ['Service.Service matches `s`', 1], ['Service.Service contains f', 1],
    ['Service.Port == 8080', 1], ['Service.Port != 8080', 0], ['Checks.Status == warning', 1], ['Checks.Status == critical', 0], ['Checks is empty', 0], ['Service.Tags is not empty', 1],
    ['Service.Address is empty', 1], ['not Service.Tags is empty', 1], ['not (Service.Port == 1 or Node.Node == f1)', 0],
    ['Service.Port == 1 and Node.Node == f1 or Node.Node == f1', 1], ['Node.Node == f1 or Node.Node == f1 and Service.Port == 1', 1],
    ['Service.TaggedAddresses["wan"].Port == 7', 1], ['Service.EnableTagOverride == false', 1], ['Service.Kind is empty', 1]) {
	is scalar @{$json->decode(filter('health/service/fs', $_->[0])->{body})}, $_->[1], "filter $_->[0]";
}
for (['Service.ModifyIndex == 1', 'Selector "Service.ModifyIndex" is not valid'], ['Checks.Definition.HTTP == 1', 'Selector "Checks.Definition" is not valid'],
    ['service.port == 1', 'Selector "service" is not valid'], ['Service == 1', 'Invalid match operator "Equal" for selector "Service"']) {
	$r = filter('health/service/fs', $_->[0]);
	is "$r->{status} $r->{body}", qq{500 Failed to create boolean expression evaluator: $_->[1]}, "filter $_->[0]";
}
is filter('health/service/fs', $_)->{status}, 500, "filter $_" for 'Service.Port == x', 'Service.Service matches "("', 'Service.Port ==', 'Service';
is filter('catalog/services', 'Foo == 1')->{status}, 500, 'the list of services takes filters, as newer releases do';
is_deeply $json->decode(filter('catalog/node/f1', 'Service == none')->{body})->{Services}, {}, 'a node without the services';
is_deeply $json->decode(filter('catalog/node-services/f1', 'Service == none')->{body})->{Services}, [], 'as a list';

# ---- 2 sessions
is put('session/renew/nosuch'), '500 failed session lookup: index error: UUID must be 36 characters', 'renew of what is no UUID';
like put('session/create', { TTL => '10' }), qr/^500 Session TTL '10' invalid: time: missing unit in duration "10"$/, 'a TTL without a unit';
$id = session({ LockDelay => '90s' });
is $n->get_json("/v1/session/info/$id")->[0]{LockDelay}, 90_000_000_000, 'a LockDelay beyond the bound is shown as asked';

put('agent/service/register', { Name => 'linked', Check => { TTL => '60s', Status => 'passing', CheckID => 'sc' } });
$n->wait_for(sub { @{$n->get_json('/v1/health/checks/linked')} });
$id = session({ ServiceChecks => [{ ID => 'sc' }], NodeChecks => [], LockDelay => '1s' });
is_deeply $n->get_json("/v1/session/info/$id")->[0]{ServiceChecks}, [{ ID => 'sc', Namespace => '' }], 'a session linked to a check of a service';
put("kv/delayed?acquire=$id", 'v');
wakes("session/info/$id", sub { put('agent/check/fail/sc') }, 'ends when that is critical');
my $next = session({ NodeChecks => [] });
is put("kv/delayed?acquire=$next", 'w'), '200 false', 'its key is held back by the lock-delay';
like put('txn', [{ KV => { Verb => 'lock', Key => 'delayed', Session => $next } }]), qr/"What":"failed to lock key \\"delayed\\" due to lock delay"/, 'a transaction is told why';
ok $n->wait_for(sub { put("kv/delayed?acquire=$next", 'w') eq '200 true' }), 'for its time';
is put('kv/delayed', 'plain'), '200 true', 'anybody may write it';
$r = $n->get_json('/v1/kv/delayed')->[0];
is "$r->{Session} $r->{LockIndex}", "$next 0", 'which keeps the holder and forgets the count';

# ---- 5.2 members of a segment
is get('agent/members?segment=x'), '500 Network segments are not supported in this version of Consul', 'a segment';
is get('agent/members?segment=x&wan=1'), '400 Cannot provide a segment with wan=true', 'one of the WAN';
is scalar @{$n->get_json('/v1/agent/members?segment=_all')}, 1, 'all segments, as consul members asks';
is_deeply [sort keys %{$n->get_json('/v1/agent/members')->[0]{Tags}}],
	[sort qw(acls bootstrap build dc ft_consulctl ft_fs ft_si id port raft_vsn role segment vsn vsn_max vsn_min wan_join_port)], 'the tags of a server';

# ---- 13 ACLs are off: the old endpoints too
is text(@$_), '401 ACL support disabled', "$_->[0] $_->[1]" for ['GET', '/v1/acl/list'], ['GET', '/v1/acl/info/x'], ['PUT', '/v1/acl/create'],
	['PUT', '/v1/acl/update'], ['PUT', '/v1/acl/destroy/x'], ['PUT', '/v1/acl/clone/x'], ['POST', '/v1/acl/rules/translate'], ['PUT', '/v1/acl/bootstrap'],
	['PUT', '/v1/agent/token/default'];

# ---- 0.1 fields of another edition
is put($_, { Node => 'x', Namespace => 'team' }) =~ s/^400 Request decode failed: //r, 'json: unknown field "Namespace" - Namespaces are a Consul Enterprise feature', $_
	for 'catalog/deregister';
is put('agent/service/register', { Name => 'x', Namespace => 'default' }),
	'400 Request decode failed: json: unknown field "Namespace" - Namespaces are a Consul Enterprise feature', 'a service of a namespace';

# ---- 3 what the Go client sends for the zero values of its structures
is put('catalog/register', '{"ID":"","Node":"goreg","Address":"1.2.3.4","TaggedAddresses":null,"NodeMeta":null,"Datacenter":"","Service":{"ID":"gs","Service":"gs",' .
	'"Tags":null,"Meta":null,"Port":1,"Address":"","Weights":{"Passing":0,"Warning":0},"EnableTagOverride":false},"Check":{"Node":"goreg","CheckID":"gc","Name":"gc",' .
	'"Status":"passing","Notes":"","Output":"","ServiceID":"gs","ServiceName":"","Type":"","ExposedPort":0,"Definition":{"HTTP":"","Header":null,"Method":"","Body":"",' .
	'"TLSServerName":"","TLSSkipVerify":false,"TCP":"","Interval":"0s","Timeout":"0s","DeregisterCriticalServiceAfter":"0s"}},"Checks":null,"SkipNodeUpdate":false}'),
	'200 true', 'a registration of the Go client';
$r = $n->get_json('/v1/health/service/gs')->[0];
is_deeply [$r->{Service}{Weights}, $r->{Service}{Tags}, $r->{Service}{Meta}, $r->{Checks}[0]{Definition}],
	[{ Passing => 1, Warning => 1 }, [], undef, {}], 'zero values are the defaults';
is put('catalog/register', { Node => 'goreg', Address => '1.2.3.4', Check => { Name => 'def', Definition => { interval => 10_000_000_000, Timeout => '1500ms',
	http => 'http://x', Header => { A => ['b'] }, TLSSkipVerify => JSON::PP::true, TTL => 0, UDP => '', OSService => '' } } }), '200 true', 'a definition of a check';
is_deeply [map { $_->{Definition} } grep { $_->{CheckID} eq 'def' } @{$n->get_json('/v1/health/node/goreg')}],
	[{ Interval => '10s', Timeout => '1.5s', HTTP => 'http://x', Header => { A => ['b'] }, TLSSkipVerify => JSON::PP::true }],
	'is shown with names and durations as Consul writes them, and without what is empty';
like put('catalog/register', { Node => 'goreg', Address => '1.2.3.4', Check => { Name => 'def', Definition => { Interval => 'x' } } }),
	qr/^400 Request decode failed: .*time: invalid duration "x"/, 'a duration that is none';
is put('agent/service/register', '{"Name":"goapi","ID":"","Kind":"","Tags":null,"Port":1,"Address":"","SocketPath":"","TaggedAddresses":null,' .
	'"EnableTagOverride":false,"Meta":null,"Weights":null,"Check":null,"Checks":null,"Proxy":null,"Connect":null}'), '200 ', 'a service of the Go client';

# ---- clients: the Go client's lock
sub lock_get { my $x = ask('GET', "/v1/kv/svc/leader$_[0]"); return ($x->{status} == 200 ? $json->decode($x->{body})->[0] : undef, $x->{headers}{'X-Consul-Index'}) }
my $flags = 3304740253564472344;
my ($mine, $theirs) = map { session({ Name => 'Consul API Lock', TTL => '15s', LockDelay => '0s' }) } 1 .. 2;
my ($pair, $at) = lock_get('?wait=15000ms');
is $pair, undef, 'lock: nobody has it';
is put("kv/svc/leader?acquire=$mine&flags=$flags", 'me'), '200 true', 'one takes it';
is put("kv/svc/leader?acquire=$theirs&flags=$flags", 'other'), '200 false', 'the other does not get it';
($pair, $at) = lock_get('?consistent');
is "$pair->{Session} $pair->{Flags}", "$mine $flags", 'its holder and flags';
my $wait = begin("kv/svc/leader?index=$at&wait=15000ms");
is put("session/renew/$mine") =~ /^200 \[\{"ID":"$mine"/ ? 1 : 0, 1, 'the holder renews';
ok !defined $wait->reply(seconds => 0.2), 'which wakes nobody';
is put("kv/svc/leader?release=$mine&flags=$flags", 'me'), '200 true', 'and lets go';
$r = $json->decode($wait->reply->{body})->[0];
ok !exists $r->{Session}, 'the one that waits is woken, and sees it free';
is put("kv/svc/leader?acquire=$theirs&flags=$flags", 'other'), '200 true', 'takes it';
($pair, $at) = lock_get('?consistent');
is $pair->{LockIndex}, 2, 'and counts';
my $monitor = begin("kv/svc/leader?index=$at&consistent");
put("session/destroy/$theirs");
ok !exists $json->decode($monitor->reply->{body})->[0]{Session}, 'a session that ends tells its holder by the key';
($pair) = lock_get('');
is text('DELETE', "/v1/kv/svc/leader?cas=$pair->{ModifyIndex}"), '200 true', 'the lock is destroyed';

# ---- the Go client's semaphore
$flags = '16210313421097356768';
my @sessions = map { session({ TTL => '15s', Behavior => 'delete' }) } 1 .. 3;
is put("kv/sem/$_?acquire=$_&flags=$flags", ''), '200 true', 'semaphore: a contender' for @sessions;
is put("kv/sem/.lock?cas=0&flags=$flags", { Limit => 2, Holders => { $sessions[0] => JSON::PP::true } }), '200 true', 'the first makes the lock';
my $list = $n->get_json('/v1/kv/sem?recurse');
is_deeply [sort map { $_->{Key} } @$list], [sort 'sem/.lock', map { "sem/$_" } @sessions], 'all are seen';
my ($lock) = grep { $_->{Key} eq 'sem/.lock' } @$list;
is $lock->{Flags}, $flags, 'with flags of 64 bits';
is put("kv/sem/.lock?cas=$lock->{ModifyIndex}&flags=$flags", { Limit => 2, Holders => { map { $_ => JSON::PP::true } @sessions[0, 1] } }), '200 true', 'the second joins';
is put("kv/sem/.lock?cas=$lock->{ModifyIndex}&flags=$flags", 'x'), '200 false', 'who read before that has to read again';
my $wake = begin('kv/sem?recurse&index=' . index_of('kv/sem?recurse'));
put("session/destroy/$sessions[0]");
$r = $json->decode($wake->reply->{body});
is scalar(grep { $_->{Key} eq "sem/$sessions[0]" } @$r), 0, 'a contender that ends is gone, and the third is woken';

# ---- consul-template: loops over several queries see each change once, and no index goes back
my %loop = map { $_ => index_of($_) } 'health/service/tmpl?passing=1&stale=', 'kv/tmpl/?recurse=&stale=', 'catalog/services?stale=';
my ($back, %seen) = (0);
for my $round (1 .. 8) {
	my %open = map { $_ => begin("$_&index=$loop{$_}&wait=60000ms") } keys %loop;
	put("kv/tmpl/k$round", $round);
	register("tm$round", 'tmpl', Port => $round, Tags => ["r$round"]);	# a tag: what shows nothing new does not wake the list of services
	for (keys %open) {
		my $x = $open{$_}->reply;
		$back++ if !$x || $x->{headers}{'X-Consul-Index'} < $loop{$_};
		$seen{$_}++ if $x && $x->{headers}{'X-Consul-Index'} > $loop{$_};
		$loop{$_} = $x->{headers}{'X-Consul-Index'};
	}
}
is $back, 0, 'consul-template: no index goes back';
is_deeply [values %seen], [8, 8, 8], 'each round wakes each loop';
is scalar @{$n->get_json('/v1/health/service/tmpl?passing=1&stale=')}, 8, 'and nothing is missed at the end';

# ---- registrator: registrations again and again change nothing but what changed
my $reg = { ID => 'host:web:80', Name => 'reg', Port => 80, Address => '10.0.0.7', Tags => ['a'], Check => { TTL => '30s' } };
is put('agent/service/register', $reg), '200 ', 'registrator registers';
is put('agent/check/pass/service:host:web:80', undef), '200 ', 'its check passes';
ok $n->wait_for(sub { @{$n->get_json('/v1/health/service/reg?passing')} }), 'which the catalog hears';
sleeps('health/service/reg', sub { put('agent/service/register', $reg) && put('agent/check/pass/service:host:web:80') for 1 .. 5 }, 'the same again wakes nobody');
is $n->get_json('/v1/agent/checks')->{'service:host:web:80'}{Status}, 'passing', 'and keeps the status';
$r = wakes('health/service/reg?passing', sub { put('agent/check/warn/service:host:web:80') }, 'a warning wakes');
is $r->{body}, '[]', 'and hides it';
$r = wakes('catalog/service/reg', sub { put('agent/service/deregister/host:web:80') }, 'a deregistration wakes');
is $r->{body}, '[]', 'and it is gone';

# ---- transactions as a storage backend makes them
sub kv { my ($verb, $key, %o) = @_; $o{Value} = encode_base64($o{Value}, '') if defined $o{Value}; return { KV => { Verb => $verb, Key => $key, %o } } }
is put('txn', [kv('set', 'vault/a', Value => '1'), kv('set', 'vault/b/c', Value => '2'), kv('delete', 'vault/none')]) =~ /^200 /, 1, 'a batch of writes';
like put('txn', [kv('get-tree', 'vault/'), kv('delete-tree', 'vault/b/'), kv('get-tree', 'vault/')]),
	qr/^200 \{"Results":\[\{"KV":\{[^}]*"vault\/a".*"vault\/b\/c".*"vault\/a"[^{]*\}\}\],"Errors":null\}$/, 'reads see what the writes before them did';
my $a = $n->get_json('/v1/kv/vault/a')->[0]{ModifyIndex};
like put('txn', [kv('cas', 'vault/a', Value => 'x', Index => $a), kv('check-index', 'vault/a', Index => $a)]),
	qr/^409 \{"Results":null,"Errors":\[\{"OpIndex":1,"What":"failed index check for key \\"vault\/a\\", current modify index \d+ != $a"\}\]\}$/, 'what a write moves fails the check after it';
is $n->get_json('/v1/kv/vault/a')->[0]{ModifyIndex}, $a, 'and undoes it';
is put('txn', [kv('delete-tree', 'vault/')]), '200 {"Results":[],"Errors":null}', 'deletes return an empty list';
is put('txn', [kv('check-not-exists', 'vault/a')]) =~ /^200 \{"Results":\[\],/, 1, 'checks may pass without a result';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
