#!/usr/bin/perl
# addresses.http on a Unix socket with unix_sockets.mode: served there, and open to whom the mode says.
use strict;
use warnings;
use File::Temp qw(tempdir);
use IO::Socket::UNIX;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $dir = tempdir(CLEANUP => 1);
my $path = "$dir/" . join('/', ('a-directory-with-a-long-name') x 5) . '/http.sock';
my $at = $dir;
for my $part (split m{/}, substr($path, length("$dir/"), -length('/http.sock'))) {
	$at .= "/$part";
	mkdir $at or die "$at: $!";
}
cmp_ok length $path, '>', 108, 'the path is longer than a socket address holds';

my $n = Node->new(dev => 1, wait => 'agent', config => { addresses => { http => "127.0.0.1 unix://$path" }, unix_sockets => { mode => '0640' } });
my @st = stat $path;
ok -S $path, 'the socket is there';
is sprintf('%o', $st[2] & 07777), '640', 'with the mode';

# Reached by a path that fits.
chdir substr($path, 0, -length('/http.sock')) or die;
my $s = IO::Socket::UNIX->new(Peer => 'http.sock') or die "connect: $!";
print $s "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
my $reply = do { local $/; <$s> };
like $reply, qr{^HTTP/1\.1 200 }, 'it answers';
chdir '/';
$n->stop if $n->can('stop');
undef $n;

$n = Node->new(dev => 1, start => 0, wait => 'none', config => { addresses => { http => "unix://$path" }, unix_sockets => { user => 'nobody-of-this-name' } });
$n->start;
is $n->wait_exit, 1, 'an unknown user: exit 1';
like $n->err_text, qr/unix_sockets\.user: no such user/, 'and the reason';

done_testing;
