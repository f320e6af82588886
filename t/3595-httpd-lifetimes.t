#!/usr/bin/perl
# What outlives what: a token of the configuration before, headers of others who wait with us, a raftd whose state is gone.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use FakeDaemons;
use Frame;
use IO::Uncompress::Gunzip qw(gunzip $GunzipError);
use JSON::PP ();
use Node;
use Raw;
use Test::More;
use Time::HiRes qw(time);

my $json = JSON::PP->new->canonical->allow_nonref;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# ---- a request that asks twice, and between the two the configuration is replaced
my $ip = Node::_address();
my $port = Node::_free_port($ip);
my %slice = (node_name => 'n1', node_id => '11111111-2222-3333-4444-555555555555', datacenter => 'dc1', server => $true,
	addresses => { http => [$ip] }, ports => { http => $port }, log_level => 'DEBUG');
my $d = Frame::Daemon->new('httpd', { %slice, acl => { enabled => $true, tokens => { default => 'the-first-token' } } });
my $f = FakeDaemons->new($d->{dir}, raftd => { 'acl.authorize' => sub { undef }, 'daemon.metrics' => sub { undef },
	'kv.get' => sub { my ($o) = @_; $o->{Consistency} ? undef : \[] } });

$d->ask('daemon.info');
my $node = { ip => $ip, ports => { http => $port } };
my ($c, $stale) = map { Raw->new($node) } 1 .. 2;
$c->send("GET /v1/agent/metrics HTTP/1.1\r\nHost: x\r\n\r\n");
$stale->send("GET /v1/kv/a?stale&max_stale=1ms HTTP/1.1\r\nHost: x\r\n\r\n");
ok $f->serve(sub { $f->waiting('acl.authorize') && $f->waiting('kv.get') }), 'both wait for their first answers';
$d->write_slice({ %slice, acl => { enabled => $true, tokens => { default => 'another-token' } } });
$d->ask('daemon.reload');
$f->answer($f->waiting('acl.authorize'), { AccessorID => 'x', Allow => ['1'] });
my ($q) = $f->waiting('kv.get');
$f->{waiting}{'kv.get'} = [];
$f->_send($q, { raw => Frame::pack_value({ Index => 5, KnownLeader => $true, LastContact => 5000000000 }) . Frame::pack_value([]) });
ok $f->serve(sub { $f->requests('daemon.metrics') && $f->requests('kv.get') == 2 }), 'then for the second';
is +($f->requests('daemon.metrics'))[0]{o}{Token}, 'the-first-token', 'with the token that the request began with';
is +($f->requests('kv.get'))[1]{o}{Token}, 'the-first-token', 'both of them';

# ---- a client that leaves while it is looked up what it may
$f->serve(sub { 0 }, 0.1);
$c = Raw->new($node);
$c->send("GET /v1/agent/monitor HTTP/1.1\r\nHost: x\r\n\r\n");
ok $f->serve(sub { $f->waiting('acl.authorize') }), 'a monitor is asked for';
# Long enough for its connection to be suspended.
$f->serve(sub { 0 }, 0.3);
$c->close;
$f->serve(sub { 0 }, 0.3);
$f->answer($f->waiting('acl.authorize'), { AccessorID => 'x', Allow => ['1'] });
sub requests { my (undef, $i) = $d->ask('daemon.info'); return (map { $_->{http_requests} // () } values %$i)[0] }
ok $f->serve(sub { requests() <= 2 }, 10), 'it is over';

# ---- answers in the cache that grow while nobody looks
sub tells { my ($name) = @_; my (undef, $i) = $d->ask('daemon.info'); return (map { $_->{$name} // () } values %$i)[0] }
$f->{handlers}{raftd}{'health.service'} = sub { my ($o) = @_; return $o->{MinIndex} ? undef : [[], 7] };
for my $k (1 .. 12) {
	my $r = Raw->new($node);
	$r->send("GET /v1/health/service/s$k?cached HTTP/1.1\r\nHost: x\r\n\r\n");
	$f->serve(sub { $f->waiting('health.service') == $k }) or last;
}
is tells('cache_entries'), 12, 'a dozen are in the cache';
my $large = [('x' x 60000) x 110];
$f->answer($_, $large, 8) for $f->waiting('health.service');
ok $f->serve(sub { tells('cache_bytes') > 40 << 20 && tells('cache_entries') < 12 }), 'they become large: some have to go';
cmp_ok tells('cache_bytes'), '<=', 64 << 20, 'for the rest to be within the bounds';
ok $f->serve(sub { my $waiting = () = $f->waiting('health.service'); $waiting == tells('cache_entries') }), 'and those alone are asked for';
is $d->stop, 0, 'httpd ends';
unlike $d->log, qr/Sanitizer|runtime error/, 'and nothing broke';

# ---- two wait for the same, and one of them asked the cache
my $n = Node->new(dev => 1, config => { log_level => 'info' });
sub instance
{
	my ($port) = @_;
	my ($status) = $n->http('PUT', '/v1/catalog/register', { Node => 'n', Address => '10.0.0.1', Service => { Service => 'web', Port => $port } });

	return $status == 200;
}
sub waiters { my (undef, $out) = $n->ctl('info'); return $out =~ /^httpd:\n(?:\t.*\n)*?\tblocking_queries = (\d+)/m ? $1 : 0 }
ok instance(1), 'an instance';
my $index = ($n->http('GET', '/v1/health/service/web'))[1]{'x-consul-index'};
for my $first ('', '&cached') {
	my @w = map { Raw->new($n) } 1 .. 2;
	my @q = ($first, $first eq '' ? '&cached' : '');
	for (0, 1) {
		$w[$_]->send("GET /v1/health/service/web?index=$index&wait=60s$q[$_] HTTP/1.1\r\nHost: x\r\n\r\n");
		ok $n->wait_for(sub { waiters() == $_ + 1 }), "'$q[$_]' waits";
	}
	ok instance(2 + length $first), 'a change';
	my @r = map { $_->reply } @w;
	is $r[$_]{headers}{'X-Cache'}, $q[$_] ? 'MISS' : undef, "'$q[$_]' is told what it asked" for 0, 1;
	is $r[0]{body}, $r[1]{body}, 'and both the same';
	$index = $r[0]{headers}{'X-Consul-Index'};
}

# ---- raftd begins anew, without what it knew (-dev)
ok +($n->http('PUT', "/v1/kv/a/$_", 'x'))[0] == 200, "key $_" for 1 .. 20;
my $s = Raw->new($n);
my ($text, @e) = ('');
sub event
{
	my ($re, $what) = @_;

	ok $n->wait_for(sub { $s->_more(time + 0.1); return $s->{in} =~ $re }), $what or diag $s->{in};
}
$s->send("GET /v1/stream?topic=kv:a/&topic=service:web HTTP/1.1\r\nHost: x\r\n\r\n");
event(qr/"snapshot"[^\n]*"kv:a.*"snapshot"[^\n]*"service:web|"snapshot"[^\n]*"service:web.*"snapshot"[^\n]*"kv:a/s, 'a stream of keys and a service');
is +(Raw->new($n)->ask('GET', '/v1/health/service/web?cached'))->{status}, 200, 'and the service in the cache';
my %pids = $n->pids;
$s->{in} = '';
kill 'KILL', $pids{raftd};
event(qr/"reset"[^\n]*"kv:a/, 'the stream is told that the keys are others');
event(qr/"reset"[^\n]*"service:web|"delete"[^\n]*"service:web/, 'and the instances');
ok $n->wait_for(sub { instance(77) }), 'an instance of the new state';
ok $n->wait_for(sub { ($n->http('PUT', '/v1/kv/a/new', 'x'))[0] == 200 }), 'and a key';
event(qr/"upsert"[^\n]*a\/new/, 'come down the stream');
event(qr/"upsert"[^\n]*"Port":77/, 'both');
ok $n->wait_for(sub { ($n->http('GET', '/v1/health/service/web?cached'))[2] =~ /"Port": ?77/ }, 10), 'the cache has it long before it would look by itself';

# ---- a compressed log, which ends when httpd does
my $m = Raw->new($n);
$m->send("GET /v1/agent/monitor?loglevel=debug HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
ok $n->wait_for(sub { $n->http('GET', '/v1/status/leader'); $m->_more(time + 0.1); $m->{in} =~ /\r\n\r\n./s }), 'a compressed monitor';
# A server does not leave for an interrupt.
is $n->stop, 1, 'the node ends';
ok $m->closed, 'the monitor ends with it';
my ($packed, $log, $chunks) = ('', undef, $m->{in} =~ s/^.*?\r\n\r\n//sr);
while ($chunks =~ s/^([0-9a-fA-F]+)\r\n//) { $packed .= substr $chunks, 0, hex $1, ''; substr($chunks, 0, 2) = '' }
ok gunzip(\$packed => \$log, TrailingData => my $more), 'what the monitor was told is whole' or diag $GunzipError;
like $log, qr/\[(INFO|DEBUG)\]/, 'and a log';
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error/, 'and nothing broke';
done_testing;
