#!/usr/bin/perl
# HTTP checks: methods and redirects as Go's client has them, answers without end, proxies of the environment.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Checks;
use Node;
use IO::Socket::INET;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(sleep time);

# ---- a web server whose paths say what they answer; what it is asked is written to a file
my $seen = File::Temp->new;

sub answer
{
	my ($c, $method, $path, $host) = @_;

	if ($path =~ m{^/to/(\d+)/(.*)}) {
		print $c "HTTP/1.1 $1 Elsewhere\r\nLocation: $2\r\nContent-Length: 5\r\n\r\nmoved";
	} elsif ($path =~ m{^/circle}) {
		print $c "HTTP/1.1 302 Round\r\nLocation: /circle$path\r\nContent-Length: 0\r\n\r\n";
	} elsif ($path =~ m{^/lost}) {
		print $c "HTTP/1.1 302 Lost\r\nContent-Length: 4\r\n\r\nlost";
	} elsif ($path =~ m{^/drip}) {
		print $c "HTTP/1.1 200 Slow\r\nConnection: close\r\n\r\n";
		while (print $c '.') { $c->flush; sleep 0.05; }
	} elsif ($path =~ m{^/headers}) {
		print $c "HTTP/1.1 200 Slow\r\n";
		while (print $c "X-Header: value\r\n") { $c->flush; sleep 0.05; }
	} elsif ($path =~ m{^/terabyte}) {
		print $c "HTTP/1.1 $1 Much\r\nContent-Length: 1099511627776\r\n\r\n" if $path =~ /(\d+)$/;
		my $block = 'x' x 65536;
		while (print $c $block) { }
	} elsif ($path =~ m{^/short}) {
		print $c "HTTP/1.1 429 Short\r\nContent-Length: 100\r\n\r\nnot all";
	} elsif ($path =~ m{^/early}) {
		print $c "HTTP/1.1 103 Early\r\nX: y\r\n\r\n";
		$c->flush;
		sleep 0.2;
		print $c "HTTP/1.1 200 Late\r\nContent-Length: 4\r\n\r\nlate";
	} elsif ($path =~ m{^/garbage}) {
		print $c "not the web at all\r\n\r\n";
	} elsif ($path =~ m{^/nothing}) {
		return;
	} else {
		my ($code) = $path =~ m{^/(\d+)};
		$code //= 200;
		print $c "HTTP/1.1 $code Said So\r\nContent-Length: 4\r\n\r\nbody";
	}
}

sub serve
{
	my ($socket, $who) = @_;
	my $pid = fork // die;

	return $pid if $pid;
	$SIG{CHLD} = 'IGNORE';
	$SIG{PIPE} = 'IGNORE';
	while (1) {
		my $c = $socket->accept or next;
		next if fork;
		my ($head, $body) = ('', '');
		while (defined(my $l = <$c>)) {
			$head .= $l;
			last if $l eq "\r\n";
		}
		read $c, $body, $1 if $head =~ /^Content-Length: (\d+)/mi;
		open my $f, '>>', "$seen";
		syswrite $f, "$who $head$body\n--\n";
		my ($method, $path, $host) = $head =~ m{^(\S+) (?:http://([^/]*))?(/\S*)} ? ($1, $3, $2) : ('', '/', '');
		answer($c, $method, $path, $host);
		close $c;
		POSIX::_exit(0);
	}
}

sub listener { return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64, ReuseAddr => 1) // die $! }
my ($web, $other, $proxy) = (listener(), listener(), listener());
my @servers = (serve($web, 'web'), serve($other, 'other'), serve($proxy, 'proxy'));
my ($port, $other_port) = ($web->sockport, $other->sockport);
my ($url, $other_url) = ("http://127.0.0.1:$port", "http://localhost:$other_port");
my $proxy_url = 'http://127.0.0.1:' . $proxy->sockport;
my $n = Node->new(dev => 1, config => { check_update_interval => '0s' }, env => { HTTP_PROXY => $proxy_url, http_proxy => 'http://127.0.0.1:1',
	HTTPS_PROXY => $proxy_url, NO_PROXY => 'direct.invalid, 192.0.2.0/24' });
my $k = Checks->new($n);
my $true = JSON::PP::true;

# What was asked for a path, by whom ("web", "other", "proxy"): the requests, whole.
sub asked
{
	my ($who, $path) = @_;

	return grep { m{^\Q$who\E \S+ (?:http://[^/]*)?\Q$path\E HTTP/1\.1\r\n} } split /\n--\n/, Node::_slurp("$seen");
}

# ---- redirects
my %secret = ('Authorization' => ['Basic Zm9v'], 'X-Plain' => ['kept'], 'Content-Type' => ['text/x'], Host => ['own.test']);
for my $code (301, 302, 303, 307, 308) {
	$k->check("post-$code", HTTP => "$url/to/$code//end$code", Method => 'POST', Body => 'the body', Header => \%secret);
}
$k->check('head', HTTP => "$url/to/302//head-end", Method => 'HEAD');
$k->check('away', HTTP => "$url/to/307/$other_url/away", Method => 'PUT', Body => 'b', Header => \%secret);
$k->check('circle', HTTP => "$url/circle");
$k->check('lost', HTTP => "$url/lost");
$k->check('file', HTTP => "$url/to/302/file:///etc/passwd");
$k->check('no', HTTP => "$url/to/302//end", DisableRedirects => $true);
$k->check('300', HTTP => "$url/to/300//end");
$k->check('chain', HTTP => "$url/to/302//to/302//to/302//429");

# ---- what would smuggle, or tell
$k->check('two-in-one', HTTP => "$url/sent", Method => "GET /smuggled HTTP/1.1\r\n\r\nGET");
$k->check('bad-name', HTTP => "$url/sent", Header => { "X: 1\r\nY" => ['2'] });
$k->check('bad-value', HTTP => "$url/sent", Header => { 'X-A' => ['fine', "1\r\n\r\nGET /smuggled HTTP/1.1\r\n"] });
$k->check('told', HTTP => 'http://me:geheim@127.0.0.1:1/x');
$k->becomes('two-in-one', 'critical', qr{^net/http: invalid method}, 'a method is one word');
$k->becomes('bad-name', 'critical', qr{^Get "\Q$url\E/sent": net/http: invalid header field name "X: 1}, 'a header is one line');
$k->becomes('bad-value', 'critical', qr{^Get "\Q$url\E/sent": net/http: invalid header field value for "X-A"$}, '... up to its end');
is(scalar(asked('web', '/sent')), 0, 'nothing of them is sent');
$k->becomes('told', 'critical', qr{^Get "http://me:\*\*\*\@127\.0\.0\.1:1/x": }, 'a fault does not tell the password');

$k->becomes("post-$_", 'passing', qr{^HTTP POST \Q$url/to/$_//end$_\E: 200 Said So Output: body$}) for 301, 302, 303, 307, 308;
for my $code (301, 302, 303) {
	my ($r) = asked('web', "/end$code");
	like($r, qr{^web GET /end$code }, "behind $code a POST becomes a GET");
	unlike($r, qr{the body|Content-Type|Content-Length}i, '... without a body and what tells of it');
	like($r, qr{^X-Plain: kept\r$}m, '... with the other headers');
	like($r, qr{^Authorization: Basic Zm9v\r$}m, '... and secrets, for it is the same host');
	like($r, qr{^Host: own\.test\r$}m, '... under the same name');
	like($r, qr{^Referer: $url/to/$code//end$code\r$}m, '... saying where it comes from');
}
for my $code (307, 308) {
	my ($r) = asked('web', "/end$code");
	like($r, qr{^web POST /end$code .*\r\n\r\nthe body}s, "behind $code it stays a POST with its body");
	like($r, qr{^Content-Type: text/x\r$}m, '... and its type');
}
$k->becomes('head', 'passing', qr{^HTTP HEAD \Q$url\E/to/302//head-end: 200 Said So Output: $});
like((asked('web', '/head-end'))[0], qr{^web HEAD }, 'a HEAD stays one');
$k->becomes('away', 'passing', qr{200 Said So});
my ($away) = asked('other', '/away');
like($away, qr{^other PUT /away .*\r\n\r\nb\z}s, 'another host is sent the body');
unlike($away, qr{Authorization|own\.test}i, 'but neither secrets nor our Host');
like($away, qr{^Host: localhost:$other_port\r$}m, '... its own instead');
my $circle = $k->becomes('circle', 'critical', qr{^Get "(?:/circle){11}": stopped after 10 redirects$}, 'redirects in circles');
$k->becomes('lost', 'critical', qr{302 Lost Output: lost$}, 'a redirect without a place is an answer');
$k->becomes('file', 'critical', qr{^Get "file:///etc/passwd": unsupported protocol scheme "file"$}, 'no redirect leads to files');
$k->becomes('no', 'critical', qr{302 Elsewhere Output: moved$});
$k->becomes('300', 'critical', qr{300 Elsewhere Output: moved$});
$k->becomes('chain', 'warning', qr{^HTTP GET \Q$url\E/to/302//to/302//to/302//429: 429 Said So Output: body$});

# ---- methods
$k->check("m-$_", HTTP => "$url/method-$_", Method => $_) for qw(POST PUT PATCH DELETE OPTIONS BREW);
$k->becomes("m-$_", 'passing', qr{^HTTP $_ }) for qw(POST PUT PATCH DELETE OPTIONS BREW);
for my $m (qw(POST PUT PATCH DELETE OPTIONS BREW)) {
	my ($r) = asked('web', "/method-$m");
	like($r, qr{^web $m }, "the method is $m");
	($m =~ /^P/ ? \&like : \&unlike)->($r, qr{^Content-Length: 0\r$}m, '... and ' . ($m =~ /^P/ ? 'an empty body is told' : 'no body'));
}

# ---- answers without end
my $began = time;
$k->check('drip', HTTP => "$url/drip", Timeout => '1s');
$k->check('headers', HTTP => "$url/headers", Timeout => '1s');
$k->check('terabyte', HTTP => "$url/terabyte/200", Timeout => '20s', OutputMaxSize => 100, Interval => '5s', Status => 'critical');
$k->check('short', HTTP => "$url/short", Status => 'passing');
$k->check('early', HTTP => "$url/early");
$k->check('garbage', HTTP => "$url/garbage");
$k->check('nothing', HTTP => "$url/nothing");
$k->check('to-drip', HTTP => "$url/to/302//headers", Timeout => '1s');
$k->becomes('drip', 'passing', qr{^HTTP GET $url/drip: 200 Slow Output: \.+$}, 'the status counts when the body does not end');
$k->becomes('headers', 'critical', qr{^Get "$url/headers": context deadline exceeded \(Client\.Timeout exceeded while awaiting headers\)$},
	'headers without end');
$k->becomes('to-drip', 'critical', qr{^Get "$url/headers": context deadline exceeded}, 'one limit for all of the way');
$k->becomes('short', 'warning', qr{429 Short Output: not all$}, 'a body that is cut');
$k->becomes('early', 'passing', qr{200 Late Output: late$}, 'what comes before the answer is none');
$k->becomes('garbage', 'critical', qr{^Get "$url/garbage": });
$k->becomes('nothing', 'critical', qr{^Get "$url/nothing": });

# ---- proxies: for strangers, never for this machine
$k->check('proxied', HTTP => 'http://stranger.invalid:8080/proxied?a');
$k->check('direct', HTTP => 'http://direct.invalid/direct', Timeout => '5s');
$k->check('secure', HTTP => 'https://stranger.invalid/secure', Timeout => '5s');
$k->becomes('proxied', 'passing', qr{^HTTP GET http://stranger\.invalid:8080/proxied\?a: 200 Said So});
like((asked('proxy', '/proxied?a'))[0], qr{^proxy GET http://stranger\.invalid:8080/proxied\?a .*^Host: stranger\.invalid:8080\r$}ms, 'through HTTP_PROXY');
$k->becomes('direct', 'critical', qr{^Get "http://direct\.invalid/direct": .*resolve}, 'but not what NO_PROXY names');
$k->becomes('secure', 'critical', qr{^Get "https://stranger\.invalid/secure": });
ok($n->wait_for(sub { Node::_slurp("$seen") =~ m{^proxy CONNECT stranger\.invalid:443 }m }), 'HTTPS through HTTPS_PROXY, by CONNECT');
is(scalar(asked('proxy', '/lost')), 0, 'nothing for 127.0.0.1 has gone to it');
is(scalar(asked('proxy', '/away')), 0, 'nor for localhost');

# ---- a terabyte: some of it is read
$k->becomes('terabyte', 'passing', qr{^HTTP GET $url/terabyte/200: 200 Much Output: x{100}$}, 'a terabyte is not read to its end');
cmp_ok(time - $began, '<', 60 + $Node::TIMEOUT, 'nor waited for');
my %pids = $n->pids;
my ($peak) = Node::_slurp("/proc/$pids{checkd}/status") =~ /^VmHWM:\s+(\d+)/m;
cmp_ok($peak, '<', 600 * 1024, 'nor kept in memory');
$k->clean;
kill 'KILL', @servers;
waitpid $_, 0 for @servers;
done_testing;
