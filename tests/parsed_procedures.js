// SPDX-License-Identifier: LGPL-2.1-or-later
// What tests/parsed_procedures runs: the statements of the migrations, as the library sends them, through parsers that
// others wrote. What a parser does not know of a dialect is put in words that it knows, which is listed below with the
// reason; each of these has to be met. And each statement with a word spoiled has to be refused, or the parser would
// prove nothing. Prints TAP.
"use strict";

const fs = require("fs");
const path = require("path");
const { antlr4tsSQL, SQLDialect } = require("antlr4ts-sql");
const { PredictionMode } = require("antlr4ts/atn/PredictionMode");

const ROUTINE = /^(?:CREATE|IF [^]*\bEXEC\('CREATE) (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|TRIGGER)\b/;

// On SQL Server a routine is text in text, because it has to be alone.
function within(sql) {
    const text = /\bEXEC\('([^]*)'\)$/.exec(sql);
    return text ? [sql, text[1].replace(/''/g, "'")] : [sql];
}

// What each is told instead: a pattern, what to say, and why.
const DIALECTS = [
    { name: "sqlserver", parser: "T-SQL", dialect: SQLDialect.TSQL, statements: 20, routines: 2, words: [] },
    {
        name: "oracle", parser: "PL/SQL", dialect: SQLDialect.PLSQL, statements: 20, routines: 2,
        // Behind what is no block, a script needs a semicolon.
        end: (sql) => (/\bEND;( \/\*.*\*\/)?$/.test(sql) ? sql : sql + ";"),
        words: [
            [/\bseq\b/g, "seq_", "a word of MODEL, which is not reserved"],
            [/ AS IDENTITY \(ORDER\)/g, " AS IDENTITY", "an option of identity columns"],
            [/ IS JSON STRICT WITH UNIQUE KEYS/g, " IS NOT NULL", "a condition of 12.1"],
        ],
    },
    {
        // Nobody's parser of Db2's procedures was found. They are in the standard's language, SQL/PSM, as MySQL's are.
        // (Its tables and views are too far from MySQL's.)
        name: "db2", parser: "MySQL", dialect: SQLDialect.MYSQL, statements: 5, routines: 5, only: ROUTINE,
        words: [
            [/ CODEUNITS32\)/g, ")", "the unit of a length"],
            [/\b([BC]LOB)\(\d[GM]\)/g, "BLOB", "the length of a LOB"],
            [/ DEFAULT NULL/g, "", "a parameter's default"],
            [/ NO EXTERNAL ACTION/g, "", "a property of functions"],
            [/\bBEGIN ATOMIC\b/g, "BEGIN", "an atomic block"],
            [/ REFERENCING NEW AS n\b/g, "", "a trigger's name of the row"],
            [/ WHEN \(n\.[a-z_]+ = 0\)/g, "", "a trigger's condition"],
            [/\(CURRENT TIMESTAMP - CURRENT TIMEZONE\)/g, "(CURRENT_TIMESTAMP)", "registers in two words"],
            [/\b(?:BIGINT|SMALLINT|INTEGER|VARCHAR)\((?!\d+\))/g, "ABS(", "a type as a function"],
            [/ AS SMALLINT\)/g, " AS SIGNED)", "the types of CAST"],
            [/\(VALUES (\(.*\)),\s*(\(.*\))\) u \(used\)/g, "(SELECT $1 AS used UNION SELECT $2) u", "rows of values"],
            [/\(VALUES (\(.*\))\) t \(h\)/g, "(SELECT $1 AS h) t", "a row of values"],
            [/\bRETURN (SELECT [^]*)$/g, "RETURN ($1)", "a query returned without parentheses"],
        ],
    },
];

// What may stand twice nowhere: the first and the last of each in a statement are doubled. And an END is left out.
const DOUBLED = [
    "CREATE", "TABLE", "INDEX", "VIEW", "FUNCTION", "PROCEDURE", "TRIGGER", "DECLARE", "SET", "IF", "THEN", "ELSE",
    "SELECT", "INTO", "FROM", "WHERE", "INSERT", "VALUES", "DELETE", "UNION", "AND", "AS", "FOR", "EXCEPTION", "SIGNAL",
    "TRY", "CATCH",
];

// A comment that begins a line is of the whole file or of the next statement.
function statements(folder) {
    const all = [];
    for (const file of fs.readdirSync(folder).filter((name) => name.endsWith(".sql")).sort()) {
        const text = fs.readFileSync(path.join(folder, file), "utf8");
        for (const part of text.split("-- statement\n").slice(1))
            all.push(...within(part.replace(/^--.*\n/gm, "").replace(/[\n; @]+$/, "")));
    }
    return all;
}

// The first thing that the parser refuses, or null. SLL is the quicker way to parse, and refuses all that LL would.
function refused(dialect, sql) {
    const stop = {
        syntaxError(recognizer, symbol, line, column, message) {
            throw new Error(`line ${line}, column ${column}: ${message.slice(0, 200)}`);
        },
    };
    const parsers = new antlr4tsSQL(dialect);
    try {
        const parser = parsers.getParser(parsers.getTokens(sql + "\n", [stop]), [stop]);
        parser.interpreter.setPredictionMode(PredictionMode.SLL);
        parsers.getParseTree(parser);
        return null;
    } catch (error) {
        return error.message || String(error);
    }
}

function* spoil(sql) {
    const texts = sql.replace(/'(?:[^']|'')*'|"[^"]*"|\/\*[^]*?\*\//g, (text) => "-".repeat(text.length));
    for (const word of [...DOUBLED, "END"]) {
        const at = [...texts.matchAll(new RegExp(`\\b${word}\\b`, "g"))].map((match) => match.index);
        for (const i of new Set([at[0], at[at.length - 1]]))
            if (i !== undefined && word === "END")
                yield [`no END at ${i}`, sql.slice(0, i) + sql.slice(i + word.length)];
            else if (i !== undefined)
                yield [`${word} twice at ${i}`, `${sql.slice(0, i)}${word} ${sql.slice(i)}`];
    }
    yield ["a parenthesis more", sql + ")"];
}

let tests = 0, failed = 0;
function tell(ok, what, wrong) {
    tests++;
    failed += ok ? 0 : 1;
    for (const line of wrong)
        console.log(`# ${line.replace(/\n/g, " ")}`);
    console.log(`${ok ? "ok" : "not ok"} ${tests} - ${what}`);
}

function look(kind, folder) {
    const bad = [], blind = [], met = new Set();
    let count = 0, routines = 0, spoilings = 0;
    for (let sql of statements(folder)) {
        if (kind.only && !kind.only.test(sql))
            continue;
        count++;
        routines += /^CREATE/.test(sql) && ROUTINE.test(sql) ? 1 : 0;
        for (const word of kind.words) {
            const told = sql.replace(word[0], word[1]);
            if (told !== sql)
                met.add(word);
            sql = told;
        }
        const name = sql.split("\n")[0].slice(0, 60);
        const end = kind.end || ((text) => text);
        const why = refused(kind.dialect, end(sql));
        if (why !== null) {
            bad.push(`${name}: ${why}`);
            continue;
        }
        for (const [what, spoiled] of spoil(sql)) {
            spoilings++;
            if (refused(kind.dialect, end(spoiled)) === null)
                blind.push(`${name}: ${what}`);
        }
    }
    for (const word of kind.words)
        if (!met.has(word))
            bad.push(`${word[0]} (${word[2]}) is nowhere`);
    tell(bad.length === 0 && count >= kind.statements && routines >= kind.routines,
         `${kind.name}: each of ${count} statements, ${routines} of them routines, is parsed as ${kind.parser}`, bad);
    tell(blind.length === 0 && spoilings > count,
         `${kind.name}: each is refused when a word is spoiled (${spoilings} are)`, blind);
}

console.log(`1..${2 * DIALECTS.length}`);
for (const kind of DIALECTS)
    look(kind, path.join(process.argv[2], kind.name));
process.exitCode = failed > 0 ? 1 : 0;
