/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "suite.h"

int main(int argc, char **argv)
{
    return conformance_main("firebird/delete", argc, argv);
}
