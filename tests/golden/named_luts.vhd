-- named_luts.vhd
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity named_luts is
  port (
    x : in  std_logic_vector(5 downto 0);
    y : out std_logic_vector(3 downto 0);
    p : out std_logic
  );
end entity;

architecture rtl of named_luts is

  component LUT4 is
    generic (INIT : bit_vector(15 downto 0) := (others => '0'));
    port (O : out std_logic; I0, I1, I2, I3 : in std_logic);
  end component;

  component LUT6 is
    generic (INIT : bit_vector(63 downto 0) := (others => '0'));
    port (O : out std_logic; I0, I1, I2, I3, I4, I5 : in std_logic);
  end component;

  signal x_i : unsigned(5 downto 0);

  signal t1  : unsigned(0 downto 0);
  signal t2  : unsigned(0 downto 0);
  signal t3  : unsigned(0 downto 0);
  signal t4  : unsigned(0 downto 0);
  signal t5  : unsigned(0 downto 0);
  signal t6  : unsigned(0 downto 0);
  signal y_2 : signed(3 downto 0);
  signal p_2 : unsigned(0 downto 0);
begin
  x_i <= unsigned(x);

  lut_t1 : LUT4 generic map (INIT => 16x"be1c") port map (O => t1(0), I0 => x_i(2), I1 => x_i(3),
      I2 => x_i(4), I3 => x_i(5));
  lut_t2 : LUT4 generic map (INIT => 16x"3fe0") port map (O => t2(0), I0 => x_i(2), I1 => x_i(3),
      I2 => x_i(4), I3 => x_i(5));
  lut_t3 : LUT4 generic map (INIT => 16x"254f") port map (O => t3(0), I0 => x_i(0), I1 => x_i(1), I2 => t1(0),
      I3 => t2(0));
  lut_t4 : LUT4 generic map (INIT => 16x"4379") port map (O => t4(0), I0 => x_i(0), I1 => x_i(1), I2 => t1(0),
      I3 => t2(0));
  lut_t5 : LUT4 generic map (INIT => 16x"f06c") port map (O => t5(0), I0 => x_i(0), I1 => x_i(1), I2 => t1(0),
      I3 => t2(0));
  lut_t6 : LUT4 generic map (INIT => 16x"e38a") port map (O => t6(0), I0 => x_i(0), I1 => x_i(1), I2 => t1(0),
      I3 => t2(0));
  lut_p_2 : LUT6 generic map (INIT => 64x"6996966996696996") port map (O => p_2(0), I0 => x_i(0),
      I1 => x_i(1), I2 => x_i(2), I3 => x_i(3), I4 => x_i(4), I5 => x_i(5));
  y_2 <= signed(t6 & t5 & t4 & t3);

  y <= std_logic_vector(y_2);
  p <= p_2(0);
end architecture;

-- LUT4.vhd
-- For simulation only: synthesis has a cell of this name, which it keeps, and would dissolve this entity.
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity LUT4 is
  generic (INIT : bit_vector(15 downto 0) := (others => '0'));
  port (O : out std_logic; I0, I1, I2, I3 : in std_logic);
end entity;

architecture simulation of LUT4 is
  signal key : std_logic_vector(3 downto 0);
begin
  key <= (3 => I3, 2 => I2, 1 => I1, 0 => I0);
  O <= 'X' when is_x(key) else to_stdulogic(INIT(to_integer(unsigned(key))));
end architecture;

-- LUT6.vhd
-- For simulation only: synthesis has a cell of this name, which it keeps, and would dissolve this entity.
library ieee;
use ieee.std_logic_1164.all;
use ieee.numeric_std.all;

entity LUT6 is
  generic (INIT : bit_vector(63 downto 0) := (others => '0'));
  port (O : out std_logic; I0, I1, I2, I3, I4, I5 : in std_logic);
end entity;

architecture simulation of LUT6 is
  signal key : std_logic_vector(5 downto 0);
begin
  key <= (5 => I5, 4 => I4, 3 => I3, 2 => I2, 1 => I1, 0 => I0);
  O <= 'X' when is_x(key) else to_stdulogic(INIT(to_integer(unsigned(key))));
end architecture;
