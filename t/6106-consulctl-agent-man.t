#!/usr/bin/perl
# consulctl agent: its man page has every option that its help has, and no other.
use strict;
use warnings;
use Test::More;
use lib "$ENV{SRCDIR}/t/lib";
use Node;

my $n = Node->new(start => 0);
my ($rc, $help) = $n->ctl('agent', '-h');
is $rc, 0, 'help';
my @in_help = sort $help =~ /^\s+-([\w-]+)/mg;
my ($options) = Node::_slurp("$ENV{SRCDIR}/man/consulctl-agent.1") =~ /^\.Ss Options\n(.*?)^\.El/ms;
my @in_page = sort $options =~ /^\.It Fl ([\w-]+)/mg;
cmp_ok scalar @in_help, '>', 50, 'many options';
is "@in_page", "@in_help", 'the same in both';

done_testing;
