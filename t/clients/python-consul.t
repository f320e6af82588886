#!/usr/bin/perl
# Debian's python3-consul: all calls of the library, as python-consul.py makes them.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;
use Clients;

my $python = Clients::need(python3 => '/usr/bin/python3');
Clients::need('python3-consul' => '/usr/lib/python3/dist-packages/consul/base.py') if !-r '/usr/lib/python3/dist-packages/consul/base.py';

my $n = Node->new(name => 'py', config => { enable_script_checks => JSON::PP::true });
my $other = Node->new(name => 'other', client => 1, wait => 'http', config => { retry_join => ["$n->{ip}:$n->{ports}{serf_lan}"] });

exit Clients->tap(cmd => [$python, "$Node::SRCDIR/t/clients/python-consul.py", $n->{ip}, $n->{ports}{http}, $other->{ip}, $other->{ports}{serf_lan}],
	env => { PYTHONDONTWRITEBYTECODE => 1 });
