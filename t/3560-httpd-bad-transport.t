#!/usr/bin/perl
# Clients that send slowly, without end, out of turn, or in great numbers: bounded, and at nobody else's expense.
use strict;
use warnings;
use Test::More;
use Time::HiRes qw(time);
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

my $n = Node->new(dev => 1, config => { limits => { http_max_conns_per_client => 15000, kv_max_value_size => 1000 } });
my %pids = $n->pids;

sub ask { return Raw->new($n)->ask(@_) }
sub stats { return $n->get_json('/v1/agent/self')->{Stats}{httpd} }
sub memory_kib { open my $f, '<', "/proc/$pids{httpd}/statm" or return 0; return (split ' ', <$f>)[1] * 4 }
sub descriptors { return scalar(() = glob "/proc/$pids{httpd}/fd/*") }
sub send_only { my ($bytes) = @_; my $c = Raw->new($n); $c->send($bytes); return $c }

ask('PUT', '/v1/kv/a', {}, 'x');
my $index = ask('GET', '/v1/kv/a')->{headers}{'X-Consul-Index'};

# ---- begun now, judged below, when their time is over
my $start = time;
my %slow = (
	'a head that does not end' => send_only("GET /v1/kv/a HTTP/1.1\r\nHost: x\r\nX-Slow: "),
	'a body that stops' => send_only("PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"),
	'a chunk that stops' => send_only("PUT /v1/kv/slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nabc"),
);
my $poll = send_only("GET /v1/kv/a?index=$index&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n");
my $resting = Raw->new($n);
is $resting->ask('GET', '/v1/kv/a?raw')->{body}, 'x', 'one that rests after a request';
my $trickle = send_only("GET /v1/kv/a HTTP/1.1\r\n");

# ---- a value that is too large, declared and not
my $c = Raw->new($n);
like $c->ask('PUT', '/v1/kv/big', {}, 'v' x 1001)->{body}, qr/^Request body\(1001 bytes\) too large, max size: 1000 bytes/, '413, declared';
$c = send_only("PUT /v1/kv/big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
$c->send(sprintf("%x\r\n", 400) . 'v' x 400 . "\r\n") for 1 .. 3;
$c->send("0\r\n\r\n");
is $c->reply->{status}, 413, '413 in chunks';
is $c->ask('GET', '/v1/kv/a?raw')->{body}, 'x', 'and the connection goes on';
is ask('GET', '/v1/kv/big')->{status}, 404, 'nothing is stored';
my $before = memory_kib();
$c = send_only("PUT /v1/kv/endless HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
my $chunk = sprintf("%x\r\n", 65536) . 'v' x 65536 . "\r\n";
my $sent = 0;
$sent++ while $sent < 1000 && $c->send($chunk);
ok $sent < 1000, 'a body without an end is cut off';
cmp_ok memory_kib() - $before, '<', 64 * 1024, 'and nothing of it is kept';

# ---- Expect
$c = send_only("PUT /v1/kv/expect HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
is $c->reply(continue => 1)->{status}, 100, '100 Continue';
$c->send('ok');
is $c->reply->{body}, "true\n", 'then the answer';
$c = send_only("PUT /v1/kv/expect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
is $c->reply(continue => 1)->{status}, 413, 'or a refusal before the body is sent';

# ---- many requests at once on one connection, waits among them
$c = send_only(join '', map { "GET /v1/kv/a?raw&n=$_ HTTP/1.1\r\nHost: x\r\n\r\n" } 1 .. 500);
is scalar(grep { $c->reply->{body} eq 'x' } 1 .. 500), 500, '500 requests, sent before the first answer';
$c = send_only("GET /v1/kv/a?index=$index&wait=200ms HTTP/1.1\r\nHost: x\r\n\r\nPUT /v1/kv/behind HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nb");
is $c->reply->{headers}{'X-Consul-Index'}, $index, 'a wait';
is $c->reply->{body}, "true\n", 'and a write behind it, in this order';

# ---- thousands
my $fds = descriptors();
my @many;
for (1 .. 2000) {
	my $x = eval { Raw->new($n) } or last;
	push @many, $x;
}
SKIP: {
	skip 'not so many descriptors here: ' . @many, 4 if @many < 900;
	$_->send("GET /v1/kv/a?index=$index&wait=10m HTTP/1.1\r\nHost: x\r\n\r\n") for @many;
	ok $n->wait_for(sub { stats()->{blocking_queries} == @many + 1 }), @many . ' clients wait';
	is stats()->{blocking_upstream}, 1, 'of which raftd sees one';
	is ask('GET', '/v1/kv/a?raw')->{body}, 'x', 'others are served';
	my @half = splice @many, 0, @many / 2;
	shutdown $_->{s}, 1 for @half;
	$_->close for @many;
	ok $n->wait_for(sub { my $s = stats(); $s->{blocking_queries} == 1 && $s->{http_connections} < 20 }), 'who hangs up, or half, is gone at once';
	@many = ();
}
ok $n->wait_for(sub { descriptors() < $fds + 10 }), 'with its descriptor';

# ---- time is over
for my $what (sort keys %slow) {
	ok $slow{$what}->closed(60), "$what: closed";
}
cmp_ok time - $start, '<', 90, 'within bounds';
$trickle->send("X-Slow: $_\r\n") for 1 .. 3;
ok $trickle->closed(30), 'whoever sends a line now and then, too';
is $resting->ask('GET', '/v1/kv/a?raw')->{body}, 'x', 'one that rests is left alone';
ask('PUT', '/v1/kv/a', {}, 'y');
is $poll->reply->{status}, 200, 'and so is one that waits';

my %now = $n->pids;
is $now{httpd}, $pids{httpd}, 'the same httpd all along';
$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error/, 'a clean end';
done_testing;
