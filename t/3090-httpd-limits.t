#!/usr/bin/perl
# Limits on connections and writers, Unix sockets, and what a reload changes.
use strict;
use warnings;
use Test::More;
use File::Temp ();
use JSON::PP;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Raw;

# The listener's path is longer than a socket address holds.
my $tmp = File::Temp->newdir(TMPDIR => 1);
my $sock = "$tmp/" . 'd' x 120 . '/http.sock';
mkdir "$tmp/" . 'd' x 120;
my $n = Node->new(start => 0, dev => 1);
$n->write_config({ addresses => { http => "$n->{ip} unix://$sock" }, limits => { http_max_conns_per_client => 20 },
	http_config => { allow_write_http_from => ['127.0.0.0/8', '10.0.0.0/30'] } });
$n->start;
my $r;

sub ask { return Raw->new($n)->ask(@_) }

# ---- Unix sockets
ok -S $sock, 'a Unix socket with a long path';
{
	# A client has the same problem: go there first.
	my $pid = fork // die;
	if ($pid == 0) {
		chdir "$tmp/" . 'd' x 120;
		my $x = Raw->new('http.sock')->ask('GET', '/v1/status/leader');
		my $w = Raw->new('http.sock')->ask('PUT', '/v1/kv/unix', {}, 'x');
		POSIX::_exit($x->{status} == 200 && $x->{body} =~ /:/ && $w->{status} == 403 ? 0 : 1);
	}
	waitpid $pid, 0;
	is $?, 0, 'serves; and is no network that may write';
}

# ---- writers
is ask('PUT', '/v1/kv/a', {}, 'x')->{status}, 200, 'a network that may write';
{
	my $closed = Node->new(dev => 1, config => { http_config => { allow_write_http_from => ['10.0.0.0/30', '127.0.0.2/31'] } });
	$r = Raw->new($closed)->ask('PUT', '/v1/kv/a', {}, 'x');
	is "$r->{status} $r->{body}", '403 Access is restricted', 'one that may not is told so';
	is(Raw->new($closed)->ask('DELETE', '/v1/kv/a')->{status}, 403, 'whatever it writes');
	is(Raw->new($closed)->ask('GET', '/v1/kv/a')->{status}, 404, 'and may read');
}

# ---- connections
my @open;
for (1 .. 19) {
	my $c = Raw->new($n);
	$c->ask('GET', '/v1/kv/a');
	push @open, $c;
}
my @more = map { Raw->new($n) } 1 .. 4;
my @answers = map { $_->send("GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n"); $_->reply(seconds => 5) } @more;
my @refused = grep { $_ && $_->{status} == 429 } @answers;
ok @refused >= 3, 'connections beyond the limit of a client';
is $refused[0]{body}, "Your IP is issuing too many concurrent connections, please rate limit your calls\n", 'are told why';
ok $more[-1]->closed, 'and closed';
is $open[0]->ask('GET', '/v1/kv/a?raw')->{body}, 'x', 'others go on';
$_->close for @open, @more;
ok $n->wait_for(sub { (ask('GET', '/v1/kv/a') // { status => 0 })->{status} == 200 }), 'closed ones make room';
$n->reload({ limits => { http_max_conns_per_client => 100 } });
ok $n->wait_for(sub {
	my @c = map { Raw->new($n) } 1 .. 40;
	return !grep { ($_->ask('GET', '/v1/kv/a') // { status => 0 })->{status} != 200 } @c;
}), 'a reload changes the limit';
$n->reload({ ports => { http => $n->{ports}{http} + 1 } });
ok $n->wait_log(qr/restart.*(ports|http)/i), 'what needs a restart is told';
is ask('GET', '/v1/kv/a')->{status}, 200, 'and changes nothing';

# ---- many connections that come and go
for my $round (1 .. 5) {
	my @c = map { my $c = Raw->new($n); $c->send("GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n"); $c } 1 .. 50;
	$_->close for @c[0 .. 24];
	is scalar(grep { ($_->reply // {})->{body} eq 'x' } @c[25 .. 49]), 25, "clients that leave early harm nobody ($round)";
}

# ---- half-closed and broken-off requests: what is complete is answered, nothing is left behind
my $get = "GET /v1/kv/a?raw HTTP/1.1\r\nHost: x\r\n\r\n";
my $c = Raw->new($n);
$c->send($get x 3);
shutdown $c->{s}, 1;
is join('', map { $c->reply->{body} } 1 .. 3), 'xxx', 'a client that closes its half gets its answers';
ok $c->closed, 'and then the end';
for my $part (substr($get, 0, 20), "PUT /v1/kv/b HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" . 'z' x 50000,
    "GET /v1/kv/a HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/kv/", "PUT /v1/txn HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[") {
	my @broken = map { Raw->new($n) } 1 .. 10;
	$_->ask('GET', '/v1/kv/a') for @broken;
	$_->send($part) && shutdown $_->{s}, 1 for @broken;
	is scalar(grep { $_->closed(5) } @broken), 10, 'a broken-off request ends its connection';
}
ok $n->wait_for(sub { $n->get_json('/v1/agent/self')->{Stats}{httpd}{http_connections} <= 2 }), 'no connection is left';

$n->stop;
unlike $n->log_text . $n->err_text, qr/Sanitizer|runtime error|work still open/, 'a clean end';
done_testing;
