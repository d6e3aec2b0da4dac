-- tables.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity tables is
  port (
    a : in  std_logic_vector(2 downto 0);
    b : in  std_logic_vector(2 downto 0);
    k : in  std_logic_vector(8 downto 0);
    p : in  std_logic_vector(2 downto 0);
    u : out std_logic_vector(3 downto 0);
    v : out std_logic_vector(3 downto 0);
    w : out std_logic_vector(3 downto 0);
    q : out std_logic;
    s : out std_logic_vector(5 downto 0)
  );
end entity;

architecture rtl of tables is

  type wave_t is array (0 to 7) of std_logic_vector(3 downto 0);
  constant wave : wave_t := (
    4x"3", 4x"c", 4x"0", 4x"7", 4x"8", 4x"1", 4x"5", 4x"e"
  );

  type curve_t is array (0 to 511) of std_logic_vector(3 downto 0);
  constant curve : curve_t := (
    4x"0", 4x"3", 4x"6", 4x"9", 4x"d", 4x"1", 4x"5", 4x"a",
    4x"f", 4x"3", 4x"8", 4x"e", 4x"3", 4x"9", 4x"f", 4x"5",
    4x"c", 4x"2", 4x"9", 4x"0", 4x"7", 4x"f", 4x"6", 4x"e",
    4x"7", 4x"f", 4x"7", 4x"0", 4x"9", 4x"2", 4x"c", 4x"6",
    4x"0", 4x"a", 4x"4", 4x"e", 4x"9", 4x"4", 4x"f", 4x"b",
    4x"7", 4x"2", 4x"e", 4x"b", 4x"7", 4x"4", 4x"1", 4x"e",
    4x"c", 4x"9", 4x"7", 4x"5", 4x"3", 4x"2", 4x"0", 4x"f",
    4x"f", 4x"e", 4x"d", 4x"d", 4x"d", 4x"d", 4x"e", 4x"f",
    4x"0", 4x"1", 4x"2", 4x"3", 4x"5", 4x"7", 4x"9", 4x"c",
    4x"f", 4x"1", 4x"4", 4x"8", 4x"b", 4x"f", 4x"3", 4x"7",
    4x"c", 4x"0", 4x"5", 4x"a", 4x"f", 4x"5", 4x"a", 4x"0",
    4x"7", 4x"d", 4x"3", 4x"a", 4x"1", 4x"8", 4x"0", 4x"8",
    4x"0", 4x"8", 4x"0", 4x"8", 4x"1", 4x"a", 4x"3", 4x"d",
    4x"7", 4x"0", 4x"a", 4x"5", 4x"f", 4x"a", 4x"5", 4x"0",
    4x"c", 4x"7", 4x"3", 4x"f", 4x"b", 4x"8", 4x"4", 4x"1",
    4x"f", 4x"c", 4x"9", 4x"7", 4x"5", 4x"3", 4x"2", 4x"1",
    4x"0", 4x"f", 4x"e", 4x"d", 4x"d", 4x"d", 4x"d", 4x"e",
    4x"f", 4x"f", 4x"0", 4x"2", 4x"3", 4x"5", 4x"7", 4x"9",
    4x"c", 4x"e", 4x"1", 4x"4", 4x"7", 4x"b", 4x"e", 4x"2",
    4x"7", 4x"b", 4x"f", 4x"4", 4x"9", 4x"e", 4x"4", 4x"a",
    4x"0", 4x"6", 4x"c", 4x"2", 4x"9", 4x"0", 4x"7", 4x"f",
    4x"7", 4x"e", 4x"6", 4x"f", 4x"7", 4x"0", 4x"9", 4x"2",
    4x"c", 4x"5", 4x"f", 4x"9", 4x"3", 4x"e", 4x"8", 4x"3",
    4x"f", 4x"a", 4x"5", 4x"1", 4x"d", 4x"9", 4x"6", 4x"3",
    4x"0", 4x"d", 4x"a", 4x"7", 4x"5", 4x"3", 4x"1", 4x"0",
    4x"f", 4x"d", 4x"c", 4x"c", 4x"b", 4x"b", 4x"b", 4x"b",
    4x"c", 4x"c", 4x"d", 4x"e", 4x"f", 4x"1", 4x"2", 4x"4",
    4x"7", 4x"9", 4x"b", 4x"e", 4x"1", 4x"4", 4x"8", 4x"c",
    4x"0", 4x"4", 4x"8", 4x"c", 4x"1", 4x"6", 4x"b", 4x"1",
    4x"7", 4x"c", 4x"2", 4x"9", 4x"f", 4x"6", 4x"d", 4x"4",
    4x"c", 4x"3", 4x"b", 4x"3", 4x"b", 4x"4", 4x"c", 4x"5",
    4x"f", 4x"8", 4x"1", 4x"b", 4x"5", 4x"f", 4x"a", 4x"5",
    4x"0", 4x"b", 4x"6", 4x"1", 4x"d", 4x"9", 4x"5", 4x"2",
    4x"f", 4x"b", 4x"8", 4x"6", 4x"3", 4x"1", 4x"f", 4x"d",
    4x"c", 4x"a", 4x"9", 4x"8", 4x"7", 4x"7", 4x"6", 4x"6",
    4x"7", 4x"7", 4x"7", 4x"8", 4x"9", 4x"a", 4x"c", 4x"e",
    4x"0", 4x"2", 4x"4", 4x"6", 4x"9", 4x"c", 4x"f", 4x"3",
    4x"7", 4x"a", 4x"e", 4x"3", 4x"7", 4x"c", 4x"1", 4x"6",
    4x"c", 4x"1", 4x"7", 4x"d", 4x"3", 4x"a", 4x"0", 4x"7",
    4x"f", 4x"6", 4x"d", 4x"5", 4x"d", 4x"5", 4x"e", 4x"7",
    4x"0", 4x"9", 4x"2", 4x"b", 4x"5", 4x"f", 4x"9", 4x"4",
    4x"f", 4x"9", 4x"4", 4x"0", 4x"b", 4x"7", 4x"3", 4x"f",
    4x"c", 4x"8", 4x"5", 4x"2", 4x"f", 4x"d", 4x"a", 4x"8",
    4x"7", 4x"5", 4x"3", 4x"2", 4x"1", 4x"0", 4x"0", 4x"0",
    4x"0", 4x"0", 4x"0", 4x"0", 4x"1", 4x"2", 4x"3", 4x"5",
    4x"7", 4x"8", 4x"a", 4x"d", 4x"f", 4x"2", 4x"5", 4x"8",
    4x"c", 4x"f", 4x"3", 4x"7", 4x"b", 4x"0", 4x"4", 4x"9",
    4x"f", 4x"4", 4x"9", 4x"f", 4x"5", 4x"b", 4x"2", 4x"9",
    4x"0", 4x"7", 4x"e", 4x"5", 4x"d", 4x"5", 4x"d", 4x"6",
    4x"f", 4x"7", 4x"0", 4x"a", 4x"3", 4x"d", 4x"7", 4x"1",
    4x"c", 4x"6", 4x"1", 4x"c", 4x"7", 4x"3", 4x"e", 4x"a",
    4x"7", 4x"3", 4x"f", 4x"c", 4x"9", 4x"6", 4x"4", 4x"2",
    4x"0", 4x"e", 4x"c", 4x"a", 4x"9", 4x"8", 4x"7", 4x"7",
    4x"7", 4x"6", 4x"6", 4x"7", 4x"7", 4x"8", 4x"9", 4x"a",
    4x"c", 4x"d", 4x"f", 4x"1", 4x"3", 4x"6", 4x"8", 4x"b",
    4x"f", 4x"2", 4x"5", 4x"9", 4x"d", 4x"1", 4x"6", 4x"b",
    4x"0", 4x"5", 4x"a", 4x"f", 4x"5", 4x"b", 4x"1", 4x"8",
    4x"f", 4x"5", 4x"c", 4x"4", 4x"b", 4x"3", 4x"b", 4x"3",
    4x"c", 4x"4", 4x"d", 4x"6", 4x"f", 4x"9", 4x"2", 4x"c",
    4x"7", 4x"1", 4x"b", 4x"6", 4x"1", 4x"c", 4x"8", 4x"4",
    4x"0", 4x"c", 4x"8", 4x"4", 4x"1", 4x"e", 4x"b", 4x"9",
    4x"7", 4x"4", 4x"2", 4x"1", 4x"f", 4x"e", 4x"d", 4x"c",
    4x"c", 4x"b", 4x"b", 4x"b", 4x"b", 4x"c", 4x"c", 4x"d",
    4x"f", 4x"0", 4x"1", 4x"3", 4x"5", 4x"7", 4x"a", 4x"d"
  );

  type parity_t is array (0 to 7) of std_logic_vector(0 downto 0);
  constant parity : parity_t := (
    "0", "1", "1", "0", "1", "0", "0", "1"
  );

  signal a_i : signed(2 downto 0);
  signal b_i : signed(2 downto 0);
  signal k_i : unsigned(8 downto 0);
  signal p_i : unsigned(2 downto 0);

  -- first
  signal t1  : unsigned(2 downto 0);
  signal u_2 : signed(3 downto 0);
  signal t2  : unsigned(2 downto 0);
  signal v_2 : signed(3 downto 0);

  -- second
  signal w_2 : unsigned(3 downto 0);

  signal q_2 : unsigned(0 downto 0);

  -- second
  signal s_2 : signed(5 downto 0);
begin
  a_i <= signed(a);
  b_i <= signed(b);
  k_i <= unsigned(k);
  p_i <= unsigned(p);

  -- first
  t1  <= unsigned(a_i);
  u_2 <= signed(wave(to_integer(t1)));
  t2  <= unsigned(b_i);
  v_2 <= signed(wave(to_integer(t2)));

  -- second
  w_2 <= unsigned(curve(to_integer(k_i)));

  q_2 <= unsigned(parity(to_integer(p_i)));

  -- second
  s_2 <= resize(u_2, 6) + signed(resize(w_2, 6));

  u <= std_logic_vector(u_2);
  v <= std_logic_vector(v_2);
  w <= std_logic_vector(w_2);
  q <= q_2(0);
  s <= std_logic_vector(s_2);
end architecture;
