#!/usr/bin/perl
# Many services of config files on a real node: entries of the log, and reloads that change one of them.
use strict;
use warnings;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

my $N = $ENV{SERVICES} // 1000;
my $services = sub { my ($port) = @_; return { services => [map { { name => sprintf('s%04d', $_), port => $_ == 7 ? $port : $_, check => { ttl => '1h', id => "c$_" } } } 1 .. $N] } };
my $n = Node->new(config_dir => { 'many.json' => $services->(7) }, wait => 'http');
my $begun = time;

sub index_of { return $n->get_json('/v1/agent/self')->{Stats}{raft}{last_log_index}; }
sub count { my $s = eval { $n->get_json('/v1/catalog/services') } // {}; return scalar grep { /^s\d/ } keys %$s; }
ok($n->wait_for(sub { count() == $N }), "$N services of files are in the catalog");
my $took = time - $begun;
ok($n->wait_for(sub { my ($s, $h, $b) = $n->http('GET', '/v1/health/checks/' . sprintf('s%04d', $N)); $b =~ /CheckID/ }), 'with their checks');
my $entries = index_of();
diag(sprintf '%d services: %d entries of the log, %.2f s after the first answer', $N, $entries, $took);
cmp_ok($entries, '<', 40, 'in few entries of the log');

# What stands already is no write.
$n->reload;
$n->http('PUT', '/v1/agent/check/pass/c7?note=up');
ok($n->wait_for(sub { $n->get_json('/v1/health/checks/s0007')->[0]{Status} eq 'passing' }), 'a check passes');
my $before = index_of();
$n->{config_dir}{'many.json'} = $services->(8);
$n->reload;
ok($n->wait_for(sub { $n->get_json('/v1/catalog/service/s0007')->[0]{ServicePort} == 8 }), 'a reload changes one of them');
cmp_ok(index_of() - $before, '<=', 8, 'and writes that alone');
is($n->get_json('/v1/health/checks/s0007')->[0]{Status}, 'passing', 'its check is as it was');
is($n->get_json('/v1/agent/checks')->{c7}{Output}, 'up', 'with its output');
done_testing;
